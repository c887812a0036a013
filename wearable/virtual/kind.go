package virtual

import (
	"bytes"

	"github.com/go-ble/ble"
	"github.com/vitalveil/vitalveil/wearable"
)

// Kind says what a sensor looks like to a client.
type Kind struct {
	service    wearable.UUID
	appearance uint16
	metrics    []string
	// values are the characteristics that it sends, the one of Emit first.
	values []value
	// constants are the readable characteristics that the service also has.
	constants []constant
	// records: the sensor keeps measurements and has a Record Access Control Point.
	records bool
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
	HeartRateStrap = Kind{
		service: "180d", appearance: 0x0341, metrics: []string{"heart_rate"},
		values:    []value{{uuid: wearable.UUIDHeartRate}},
		constants: []constant{{"2a38", []byte{1}}}, // body sensor location: chest
	}
	PulseOximeter = Kind{
		service: "1822", appearance: 0x0C41, metrics: []string{"spo2", "pulse_rate"},
		values:    []value{{uuid: wearable.UUIDContinuousOximetry}},
		constants: []constant{{wearable.UUIDOximeterFeatures, []byte{0, 0}}}, // none optional
	}
	// SpotOximeter sends single measurements, also out of its memory.
	SpotOximeter = Kind{
		service: "1822", appearance: 0x0C40, metrics: []string{"spo2", "pulse_rate"},
		values:    []value{{uuid: wearable.UUIDSpotOximetry, indicate: true}},
		constants: []constant{{wearable.UUIDOximeterFeatures, []byte{0x0D, 0, 0xE0, 0x02}}}, // status, memory, clock
		records:   true,
	}
	Thermometer = Kind{
		service: "1809", appearance: 0x0300, metrics: []string{"body_temp"},
		values:    []value{{uuid: wearable.UUIDTemperature, indicate: true}, {uuid: wearable.UUIDIntermediateTemperature}},
		constants: []constant{{"2a1d", []byte{2}}}, // temperature type: body
	}
	BloodPressureCuff = Kind{
		service: "1810", appearance: 0x0381, metrics: []string{"bp_systolic", "bp_diastolic"},
		values:    []value{{uuid: wearable.UUIDBloodPressure, indicate: true}, {uuid: wearable.UUIDCuffPressure}},
		constants: []constant{{"2a49", []byte{0, 0}}}, // features: none optional
	}
	// GlucoseMeter sends nothing but records, on request.
	GlucoseMeter = Kind{
		service: "1808", appearance: 0x0400, metrics: []string{"glucose"},
		values:    []value{{uuid: wearable.UUIDGlucose}, {uuid: wearable.UUIDGlucoseContext}},
		constants: []constant{{"2a51", []byte{0, 0}}}, // features: none optional
		records:   true,
	}
	GlucoseMonitor = Kind{
		service: "181f", appearance: 0x0D00, metrics: []string{"glucose"},
		values: []value{{uuid: wearable.UUIDGlucoseMonitor}},
		constants: []constant{
			{wearable.UUIDGlucoseMonitorFeatures, []byte{0, 0, 0, 0x59, 0xFF, 0xFF}},
			{wearable.UUIDGlucoseMonitorStatus, []byte{0, 0, 0, 0, 0}},
			{wearable.UUIDSessionRunTime, []byte{0x50, 1}},
		},
		records: true,
	}
	WeightScale = Kind{
		service: "181d", appearance: 0x0C80, values: []value{{uuid: wearable.UUIDWeight, indicate: true}},
		constants: []constant{{"2a9e", []byte{0, 0, 0, 0}}},
	}
	BodyScale = Kind{
		service: "181b", appearance: 0x0C80, values: []value{{uuid: wearable.UUIDBodyComposition, indicate: true}},
		constants: []constant{{"2a9b", []byte{0, 0, 0, 0}}},
	}
	GenericSensor = Kind{
		service: "1840", appearance: 0x0480,
		metrics: []string{"heart_rate", "pulse_rate", "resp_rate", "spo2", "body_temp", "skin_temp", "bp_systolic", "bp_diastolic", "glucose"},
		values:  []value{{uuid: wearable.UUIDLiveObservations, indicate: true}, {uuid: wearable.UUIDStoredObservations}},
		records: true,
	}
	// HaldenRing is the invented vendor's sensor of package wearable.
	HaldenRing = Kind{
		service: "7d1e0a00-5b1c-4c39-9d5e-20c3a1f0be77", appearance: 0x0200, metrics: []string{"pulse_rate", "skin_temp"},
		values: []value{{uuid: "7d1e0a01-5b1c-4c39-9d5e-20c3a1f0be77"}},
	}
)

// attribute returns a UUID as go-ble has it.
func attribute(uuid wearable.UUID) ble.UUID { return ble.MustParse(string(uuid)) }

func (k Kind) sends(uuid wearable.UUID) bool {
	for _, v := range k.values {
		if v.uuid == uuid {
			return true
		}
	}
	return k.records && uuid == wearable.UUIDRecordAccess
}

// services builds the attribute table of one connection: handles and client
// configurations are written into it.
func (s *Sensor) services(serving *session) []*ble.Service {
	access := ble.NewService(ble.GAPUUID)
	access.NewCharacteristic(ble.DeviceNameUUID).SetValue([]byte(s.name))
	access.NewCharacteristic(ble.AppearanceUUID).SetValue([]byte{byte(s.kind.appearance), byte(s.kind.appearance >> 8)})
	measured := ble.NewService(attribute(s.kind.service))
	for _, v := range s.kind.values {
		s.sends(serving, measured.NewCharacteristic(attribute(v.uuid)), v)
	}
	for _, extra := range s.kind.constants {
		measured.NewCharacteristic(attribute(extra.uuid)).SetValue(extra.data)
	}
	if s.kind.records {
		point := measured.NewCharacteristic(attribute(wearable.UUIDRecordAccess))
		s.sends(serving, point, value{wearable.UUIDRecordAccess, true})
		point.HandleWrite(ble.WriteHandlerFunc(func(req ble.Request, rsp ble.ResponseWriter) {
			rsp.SetStatus(s.requested(serving, bytes.Clone(req.Data())))
		}))
	}
	all := []*ble.Service{access, measured}
	if s.clock != nil {
		all = append(all, s.clockService())
	}
	for _, extra := range s.extras {
		service := ble.NewService(attribute(extra.service))
		for _, c := range extra.constants {
			service.NewCharacteristic(attribute(c.uuid)).SetValue(c.data)
		}
		all = append(all, service)
	}
	return all
}

// sends makes a characteristic one that a client may subscribe to.
func (s *Sensor) sends(serving *session, c *ble.Characteristic, v value) {
	// go-ble runs this in a goroutine of its own, which ends at once.
	handler := ble.NotifyHandlerFunc(func(_ ble.Request, n ble.Notifier) { s.subscribed(serving, c, v, n) })
	if v.indicate {
		c.HandleIndicate(handler)
	} else {
		c.HandleNotify(handler)
	}
	serving.sending = append(serving.sending, c)
}

// clockService is the Current Time Service, by the sensor's clock.
func (s *Sensor) clockService() *ble.Service {
	service := ble.NewService(attribute("1805"))
	service.NewCharacteristic(attribute(wearable.UUIDCurrentTime)).HandleRead(ble.ReadHandlerFunc(func(_ ble.Request, rsp ble.ResponseWriter) {
		payload, err := wearable.Encode(wearable.Notification{UUID: wearable.UUIDCurrentTime, Fields: []wearable.Field{
			{Name: "date_time", Value: s.Stamp()}, {Name: "day_of_week", Value: int64(0)}, {Name: "fractions", Value: int64(0)}, {Name: "adjusted", Value: int64(0)},
		}})
		if err != nil {
			rsp.SetStatus(ble.ErrUnlikely)
			return
		}
		_, _ = rsp.Write(payload)
	}))
	return service
}
