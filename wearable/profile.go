package wearable

// Characteristic is one that Decode reads.
type Characteristic struct {
	UUID UUID
	Name string
	// Profile is the service that it belongs to.
	Profile string
	// Metrics are the keys of the metrics that it feeds; none for what only says
	// something about sensor or person.
	Metrics []string
	// Stored says how values out of a sensor's memory come, "" where none do.
	Stored string
	// User tells whether values have the number of the person in the sensor.
	User bool

	layout func(*coder)
	max    int
}

func (p *Characteristic) limit() int { return max(p.max, MaxPayload) }

const (
	onRequest = "on request (2a52), numbered"
	withTime  = "unasked, with the sensor's time"
	marked    = "marked, with the sensor's time"
)

var observed = []string{"pulse_rate", "heart_rate", "resp_rate", "spo2", "body_temp", "skin_temp", "bp_systolic", "bp_diastolic", "glucose", "storage_temp"}

// characteristics in the order of the page about devices. A vendor's sensor is one
// line here and a file of its own.
var characteristics = buildCharacteristics()

func buildCharacteristics() []Characteristic {
	pressures := []string{"bp_systolic", "bp_diastolic", "pulse_rate"}
	oximetry := []string{"spo2", "pulse_rate"}
	return []Characteristic{
		{UUIDHeartRate, "Heart Rate Measurement", "Heart Rate", []string{"heart_rate"}, "", false, heartRate, 0},
		{UUIDTemperature, "Temperature Measurement", "Health Thermometer", []string{"body_temp"}, withTime, false, temperature, 0},
		{UUIDIntermediateTemperature, "Intermediate Temperature", "Health Thermometer", []string{"body_temp"}, "", false, temperature, 0},
		{UUIDBloodPressure, "Blood Pressure Measurement", "Blood Pressure", pressures, withTime, true, bloodPressure, 0},
		{UUIDCuffPressure, "Intermediate Cuff Pressure", "Blood Pressure", nil, "", true, cuffPressure, 0},
		{UUIDSpotOximetry, "PLX Spot-Check Measurement", "Pulse Oximeter", oximetry, marked, false, spotOximetry, 0},
		{UUIDContinuousOximetry, "PLX Continuous Measurement", "Pulse Oximeter", oximetry, "", false, continuousOximetry, 0},
		{UUIDOximeterFeatures, "PLX Features", "Pulse Oximeter", nil, "", false, oximeterFeatures, 0},
		{UUIDGlucose, "Glucose Measurement", "Glucose", []string{"glucose"}, onRequest, false, glucose, 0},
		{UUIDGlucoseContext, "Glucose Measurement Context", "Glucose", nil, onRequest, false, glucoseContext, 0},
		{UUIDRecordAccess, "Record Access Control Point", "Glucose", nil, "", false, recordAccess, 0},
		{UUIDGlucoseMonitor, "CGM Measurement", "Continuous Glucose Monitoring", []string{"glucose"}, "on request (2a52), minutes since the session's start (2aaa)", false, glucoseMonitor, 0},
		{UUIDGlucoseMonitorFeatures, "CGM Feature", "Continuous Glucose Monitoring", nil, "", false, monitorFeatures, 0},
		{UUIDGlucoseMonitorStatus, "CGM Status", "Continuous Glucose Monitoring", nil, "", false, monitorState, 0},
		{UUIDSessionStart, "CGM Session Start Time", "Continuous Glucose Monitoring", nil, "", false, sessionStart, 0},
		{UUIDSessionRunTime, "CGM Session Run Time", "Continuous Glucose Monitoring", nil, "", false, sessionRunTime, 0},
		{UUIDWeight, "Weight Measurement", "Weight Scale", nil, withTime, true, weight, 0},
		{UUIDBodyComposition, "Body Composition Measurement", "Body Composition", nil, withTime, true, bodyComposition, 0},
		{UUIDLiveObservations, "Live Health Observations", "Generic Health Sensor", observed, marked, true, liveObservation, maxObservation},
		{UUIDStoredObservations, "Stored Health Observations", "Generic Health Sensor", observed, onRequest, true, storedObservation, maxObservation},
		{UUIDBattery, "Battery Level", "Battery", nil, "", false, battery, 0},
		{UUIDManufacturer, "Manufacturer Name String", "Device Information", nil, "", false, information("manufacturer"), 0},
		{UUIDModel, "Model Number String", "Device Information", nil, "", false, information("model"), 0},
		{UUIDSerial, "Serial Number String", "Device Information", nil, "", false, information("serial_number"), 0},
		{UUIDHardware, "Hardware Revision String", "Device Information", nil, "", false, information("hardware"), 0},
		{UUIDFirmware, "Firmware Revision String", "Device Information", nil, "", false, information("firmware"), 0},
		{UUIDSoftware, "Software Revision String", "Device Information", nil, "", false, information("software"), 0},
		{UUIDSystemID, "System ID", "Device Information", nil, "", false, systemID, 0},
		{UUIDPnPID, "PnP ID", "Device Information", nil, "", false, pnpID, 0},
		{UUIDCurrentTime, "Current Time", "Current Time", nil, "", false, currentTime, 0},
		{UUIDLocalTime, "Local Time Information", "Current Time", nil, "", false, localTime, 0},
		{UUIDDateTime, "Date Time", "Current Time", nil, "", false, dateTime, 0},
		halden,
	}
}

var byUUID = func() map[UUID]*Characteristic {
	index := make(map[UUID]*Characteristic, len(characteristics))
	for i := range characteristics {
		index[characteristics[i].UUID] = &characteristics[i]
	}
	return index
}()

func characteristicOf(uuid UUID) *Characteristic { return byUUID[uuid] }

// Characteristics returns those that Decode reads, profile by profile.
func Characteristics() []Characteristic { return append([]Characteristic(nil), characteristics...) }

// CharacteristicOf returns what is known of a characteristic, and false where
// Decode does not read it.
func CharacteristicOf(uuid UUID) (Characteristic, bool) {
	p := characteristicOf(uuid)
	if p == nil {
		return Characteristic{}, false
	}
	return *p, true
}

// Measures tells whether the characteristic feeds a metric: whether a bridge
// subscribes to it.
func Measures(uuid UUID) bool {
	p := characteristicOf(uuid)
	return p != nil && len(p.Metrics) > 0
}

// Decodes tells whether Decode reads this characteristic.
func Decodes(uuid UUID) bool { return characteristicOf(uuid) != nil }
