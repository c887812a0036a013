package wearable

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
)

// Exact conversion factors.
var (
	// One conventional millimetre of mercury is 133.322387415 Pa: 13595.1 kg/m3
	// times 9.80665 m/s2 times 1 mm (NIST Special Publication 811, appendix B.8,
	// gives it to fewer digits). So 1 kPa is 1000 / 133.322387415 mmHg.
	mmHgPerKPa = big.NewRat(1_000_000_000_000, 133_322_387_415)
	// 1 kg/L is 10^6 mg in 10 dL.
	mgdLPerKgL = big.NewRat(100_000, 1)
	// One mole of glucose, C6H12O6, is 180.156 g (PubChem CID 5793), so 1 mol/L
	// is 18015.6 mg/dL.
	mgdLPerMolL = big.NewRat(180_156, 10)
	fiveNinths  = big.NewRat(5, 9)
)

const (
	unitPerMinute = "/min"
	unitPercent   = "%"
	unitCelsius   = "Cel"
	unitDegF      = "[degF]"
	unitMMHg      = "mm[Hg]"
	unitKPa       = "kPa"
)

// decodeHeartRate reads 0x2A37 (Heart Rate Service 1.0, section 3.1). A value
// that the sensor itself marks as taken without skin contact is dropped.
func decodeHeartRate(c *cursor) {
	flags := c.uint8("flags")
	var rate int
	if flags&0x01 == 0 {
		rate = int(c.uint8("heart rate"))
	} else {
		rate = int(c.uint16("heart rate"))
	}
	c.integerField("heart_rate", rate, unitPerMinute)
	supported, contact := flags&0x04 != 0, flags&0x02 != 0
	if supported {
		c.textField("sensor_contact", map[bool]string{true: "detected", false: "not detected"}[contact])
	}
	if flags&0x08 != 0 {
		c.integerField("energy_expended", int(c.uint16("energy expended")), "kJ")
	}
	if flags&0x10 != 0 {
		c.rrIntervals()
	}
	if supported && !contact {
		c.drop("heart_rate", "no skin contact")
		return
	}
	c.readings = append(c.readings, Reading{"heart_rate", Int(int64(rate))})
}

// rrIntervals reads the rest of the payload: one interval or more, oldest first,
// each in 1/1024 s.
func (c *cursor) rrIntervals() {
	var intervals []json.Number
	for more := true; more; more = c.err == nil && c.at < len(c.data) {
		interval := c.uint16("RR-intervals")
		if c.full {
			intervals = append(intervals, json.Number(strconv.Itoa(int(interval))))
		}
	}
	if c.full {
		c.field("rr_intervals", intervals, "s/1024")
	}
}

// decodeTemperature reads 0x2A1C and 0x2A1E, which share a format (Health
// Thermometer Service 1.0, sections 3.1 and 3.3). Every site counts as body
// temperature; the site is a field.
func decodeTemperature(c *cursor) {
	flags := c.uint8("flags")
	value := c.float("temperature")
	fahrenheit := flags&0x01 != 0
	if fahrenheit {
		c.floatField("temperature", value, unitDegF)
		c.fahrenheitReading(value)
	} else {
		c.floatField("temperature", value, unitCelsius)
		c.reading("body_temp", value, nil)
	}
	if flags&0x02 != 0 {
		c.dateTime("timestamp")
	}
	if flags&0x04 != 0 {
		c.textField("type", nameOf(int(c.uint8("temperature type")), temperatureSites))
	}
}

// fahrenheitReading converts exactly: (F - 32) * 5 / 9.
func (c *cursor) fahrenheitReading(f Float) {
	value, ok := f.Decimal()
	if !ok {
		c.reading("body_temp", f, nil)
		return
	}
	celsius := value.Rat()
	celsius.Sub(celsius, big.NewRat(32, 1)).Mul(celsius, fiveNinths)
	converted, ok := DecimalFromRat(celsius)
	if !ok {
		c.drop("body_temp", "out of any range")
		return
	}
	c.readings = append(c.readings, Reading{"body_temp", converted})
}

var temperatureSites = []string{"", "armpit", "body", "ear", "finger", "gastro-intestinal tract", "mouth", "rectum", "toe", "tympanum"}

// nameOf returns the meaning of an enumeration value.
func nameOf(n int, names []string) string {
	if n < len(names) && names[n] != "" {
		return names[n]
	}
	return fmt.Sprintf("reserved (%d)", n)
}

// decodeBloodPressure reads 0x2A35 (Blood Pressure Service 1.1, section 3.1).
func decodeBloodPressure(c *cursor) {
	flags := c.uint8("flags")
	unit, factor := unitMMHg, (*big.Rat)(nil)
	if flags&0x01 != 0 {
		unit, factor = unitKPa, mmHgPerKPa
	}
	systolic, diastolic, mean := c.sfloat("systolic pressure"), c.sfloat("diastolic pressure"), c.sfloat("mean pressure")
	c.floatField("systolic", systolic, unit)
	c.floatField("diastolic", diastolic, unit)
	c.floatField("mean_arterial_pressure", mean, unit)
	c.reading("bp_systolic", systolic, factor)
	c.reading("bp_diastolic", diastolic, factor)
	if flags&0x02 != 0 {
		c.dateTime("timestamp")
	}
	if flags&0x04 != 0 {
		rate := c.sfloat("pulse rate")
		c.floatField("pulse_rate", rate, unitPerMinute)
		c.reading("pulse_rate", rate, nil)
	}
	if flags&0x08 != 0 {
		c.integerField("user_id", int(c.uint8("user id")), "")
	}
	if flags&0x10 != 0 {
		c.bitsField("measurement_status", uint32(c.uint16("measurement status")), pressureStatus)
	}
}

// Bits 3 and 4 are one number: the pulse rate against the sensor's range.
var pressureStatus = []string{
	"body movement", "cuff too loose", "irregular pulse",
	"pulse rate above range", "pulse rate below range", "improper measurement position",
}

// decodeGlucose reads 0x2A18 (Glucose Service 1.0, section 3.1). Measurements of
// control solution are dropped, and those that the meter marks as failed.
func decodeGlucose(c *cursor) {
	flags := c.uint8("flags")
	c.integerField("sequence_number", int(c.uint16("sequence number")), "")
	c.dateTime("base_time")
	if flags&0x01 != 0 {
		c.integerField("time_offset", int(int16(c.uint16("time offset"))), "min")
	}
	failed := ""
	if flags&0x02 != 0 {
		failed = c.concentration(flags&0x04 != 0)
	}
	if flags&0x08 != 0 {
		status := uint32(c.uint16("sensor status"))
		c.bitsField("sensor_status", status, glucoseStatus)
		if status&glucoseFailed != 0 {
			failed = "the meter reports a failed measurement"
		}
	}
	if c.full {
		c.field("context_follows", flags&0x10 != 0, "")
	}
	if failed != "" {
		c.discard(failed)
	}
}

// concentration reads the value with its type and location, and returns why it
// must not count, if so.
func (c *cursor) concentration(molar bool) string {
	unit, factor := "kg/L", mgdLPerKgL
	if molar {
		unit, factor = "mol/L", mgdLPerMolL
	}
	value := c.sfloat("concentration")
	c.floatField("concentration", value, unit)
	c.reading("glucose", value, factor)
	place := c.uint8("type and sample location")
	kind, location := int(place&0x0F), int(place>>4)
	c.textField("type", nameOf(kind, glucoseTypes))
	c.textField("sample_location", nameOf(location, glucoseLocations))
	if kind == glucoseControlType || location == glucoseControlLocation {
		return "control solution"
	}
	return ""
}

const (
	glucoseControlType     = 10
	glucoseControlLocation = 4
	// glucoseFailed are the status bits after which a value is no measurement:
	// all but low battery (0) and an interrupted clock (11).
	glucoseFailed = 0x07FE
)

var (
	glucoseTypes = []string{
		"", "capillary whole blood", "capillary plasma", "venous whole blood", "venous plasma",
		"arterial whole blood", "arterial plasma", "undetermined whole blood", "undetermined plasma", "interstitial fluid",
		"control solution",
	}
	glucoseLocations = []string{
		"", "finger", "alternate site", "earlobe", "control solution",
		"", "", "", "", "", "", "", "", "", "", "not available",
	}
	glucoseStatus = []string{
		"battery low", "sensor malfunction", "sample insufficient", "strip insertion error",
		"strip type incorrect", "result above range", "result below range", "temperature too high", "temperature too low",
		"read interrupted", "general fault", "time fault",
	}
)

// decodeSpotOximetry reads 0x2A5E (Pulse Oximeter Service 1.0, section 3.2).
func decodeSpotOximetry(c *cursor) {
	flags := c.uint8("flags")
	c.oximetry("", true)
	if flags&0x01 != 0 {
		c.dateTime("timestamp")
	}
	c.oximeterTail(flags&0x02 != 0, flags&0x04 != 0, flags&0x08 != 0)
	if c.full && flags&0x10 != 0 {
		c.field("clock_not_set", true, "")
	}
}

// decodeContinuousOximetry reads 0x2A5F (Pulse Oximeter Service 1.0, section
// 3.3). The fast and slow averages are fields; only the normal ones are
// readings.
func decodeContinuousOximetry(c *cursor) {
	flags := c.uint8("flags")
	c.oximetry("", true)
	if flags&0x01 != 0 {
		c.oximetry("_fast", false)
	}
	if flags&0x02 != 0 {
		c.oximetry("_slow", false)
	}
	c.oximeterTail(flags&0x04 != 0, flags&0x08 != 0, flags&0x10 != 0)
}

// oximetry reads one pair of saturation and pulse rate.
func (c *cursor) oximetry(suffix string, readings bool) {
	saturation, rate := c.sfloat("SpO2"+suffix), c.sfloat("pulse rate"+suffix)
	c.floatField("spo2"+suffix, saturation, unitPercent)
	c.floatField("pulse_rate"+suffix, rate, unitPerMinute)
	if readings {
		c.reading("spo2", saturation, nil)
		c.reading("pulse_rate", rate, nil)
	}
}

// oximeterTail reads the optional ends that both forms share, and discards the
// readings where a status says that they are none.
func (c *cursor) oximeterTail(measurement, device, amplitude bool) {
	reason := ""
	if measurement {
		status := uint32(c.uint16("measurement status"))
		c.bitsField("measurement_status", status, oximeterStatus)
		reason = firstOf(status&oximeterInvalid, oximeterStatus)
	}
	if device {
		b := c.take(3, "device and sensor status")
		status := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		c.bitsField("device_status", status, oximeterDevice)
		if reason == "" {
			reason = firstOf(status&oximeterDetached, oximeterDevice)
		}
	}
	if amplitude {
		c.floatField("pulse_amplitude_index", c.sfloat("pulse amplitude index"), unitPercent)
	}
	if reason != "" {
		c.discard(reason)
	}
}

// firstOf names the lowest bit that is set, "" where none is.
func firstOf(bits uint32, names []string) string {
	for i, name := range names {
		if bits&(1<<i) != 0 {
			return name
		}
	}
	return ""
}

const (
	// oximeterInvalid: demonstration, testing, calibration, unavailable, invalid.
	oximeterInvalid = 1<<10 | 1<<11 | 1<<12 | 1<<13 | 1<<15
	// oximeterDetached: malfunction, not on the user, sensor malfunction, sensor
	// disconnected.
	oximeterDetached = 1<<1 | 1<<11 | 1<<14 | 1<<15
)

var (
	oximeterStatus = []string{
		5: "measurement ongoing", 6: "early estimate", 7: "validated", 8: "fully qualified",
		9: "from storage", 10: "data for demonstration", 11: "data for testing", 12: "calibration ongoing",
		13: "measurement unavailable", 14: "questionable measurement", 15: "invalid measurement",
	}
	oximeterDevice = []string{
		"display update ongoing", "equipment malfunction", "signal processing irregularity",
		"inadequate signal", "poor signal", "low perfusion", "erratic signal", "non-pulsatile signal", "questionable pulse",
		"signal analysis ongoing", "sensor interference", "sensor not connected to the user", "unknown sensor",
		"sensor displaced", "sensor malfunction", "sensor disconnected",
	}
)
