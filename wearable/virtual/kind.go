package virtual

import (
	"github.com/go-ble/ble"
	"github.com/vitalveil/vitalveil/wearable"
)

// kind says what a sensor looks like to a client.
type kind struct {
	service    wearable.UUID
	appearance uint16
	metrics    []string
	// values are the characteristics that it sends, the one of Emit first.
	values []value
	// constants are the readable characteristics that the service also has.
	constants []constant
}

// value is a characteristic that is sent without being asked for.
type value struct {
	uuid     wearable.UUID
	indicate bool
}

// constant is a characteristic that never changes.
type constant struct {
	uuid wearable.UUID
	data []byte
}

// The kinds. Services, appearances and whether a value is notified or indicated
// are those of the Bluetooth SIG's specifications and assigned numbers.
var (
	heartRateStrap = kind{
		service: "180d", appearance: 0x0341, metrics: []string{"heart_rate"},
		values:    []value{{uuid: wearable.UUIDHeartRate}},
		constants: []constant{{"2a38", []byte{1}}}, // body sensor location: chest
	}
	pulseOximeter = kind{
		service: "1822", appearance: 0x0C41, metrics: []string{"spo2", "pulse_rate"},
		values:    []value{{uuid: wearable.UUIDContinuousOximetry}},
		constants: []constant{{"2a60", []byte{0, 0}}}, // features: none optional
	}
	thermometer = kind{
		service: "1809", appearance: 0x0300, metrics: []string{"body_temp"},
		values:    []value{{uuid: wearable.UUIDTemperature, indicate: true}, {uuid: wearable.UUIDIntermediateTemperature}},
		constants: []constant{{"2a1d", []byte{2}}}, // temperature type: body
	}
	bloodPressureCuff = kind{
		service: "1810", appearance: 0x0381, metrics: []string{"bp_systolic", "bp_diastolic"},
		values:    []value{{uuid: wearable.UUIDBloodPressure, indicate: true}},
		constants: []constant{{"2a49", []byte{0, 0}}}, // features: none optional
	}
)

// attribute returns a UUID as go-ble has it.
func attribute(uuid wearable.UUID) ble.UUID { return ble.MustParse(string(uuid)) }

func (k kind) sends(uuid wearable.UUID) bool {
	for _, v := range k.values {
		if v.uuid == uuid {
			return true
		}
	}
	return false
}

// services builds the attribute table of one connection: handles and client
// configurations are written into it.
func (s *Sensor) services(serving *session) []*ble.Service {
	access := ble.NewService(ble.GAPUUID)
	access.NewCharacteristic(ble.DeviceNameUUID).SetValue([]byte(s.name))
	access.NewCharacteristic(ble.AppearanceUUID).SetValue([]byte{byte(s.kind.appearance), byte(s.kind.appearance >> 8)})
	measured := ble.NewService(attribute(s.kind.service))
	for _, v := range s.kind.values {
		c := measured.NewCharacteristic(attribute(v.uuid))
		// go-ble runs this in a goroutine of its own, which ends at once.
		handler := ble.NotifyHandlerFunc(func(_ ble.Request, n ble.Notifier) { s.subscribed(serving, c, v, n) })
		if v.indicate {
			c.HandleIndicate(handler)
		} else {
			c.HandleNotify(handler)
		}
	}
	for _, extra := range s.kind.constants {
		measured.NewCharacteristic(attribute(extra.uuid)).SetValue(extra.data)
	}
	return []*ble.Service{access, measured}
}
