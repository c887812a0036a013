package wearable

import "math/big"

// Exact conversion factors.
var (
	// One conventional millimetre of mercury is 133.322387415 Pa: 13595.1 kg/m3
	// times 9.80665 m/s2 times 1 mm (NIST Special Publication 811, appendix B.8,
	// gives it to fewer digits). So 1 kPa is 1000 / 133.322387415 mmHg.
	mmHgPerKPa = big.NewRat(1_000_000_000_000, 133_322_387_415)
	// One mole of glucose, C6H12O6, is 180.156 g (PubChem CID 5793), so 1 mol/L
	// is 18015.6 mg/dL.
	mgdLPerMolL  = big.NewRat(180_156, 10)
	mgdLPerMmolL = big.NewRat(180_156, 10_000)
	fiveNinths   = big.NewRat(5, 9)
)

const (
	unitPerMinute = "/min"
	unitPercent   = "%"
	unitCelsius   = "Cel"
	unitDegF      = "[degF]"
	unitMMHg      = "mm[Hg]"
	unitKPa       = "kPa"
)

// heartRate is 0x2A37 (Heart Rate Service 1.0, section 3.1). A value that the
// sensor itself marks as taken without skin contact is dropped. The intervals
// between beats come last and are oldest first: one that is cut off costs itself
// alone.
func heartRate(c *coder) {
	c.flags(1)
	wide := 1
	if c.bit(0) {
		wide = 2
	}
	rate := c.number("heart_rate", wide, unitPerMinute)
	contact, supported := c.bit(1), c.bit(2)
	if supported && c.full {
		c.derived("sensor_contact", map[bool]string{true: "detected", false: "not detected"}[contact])
	}
	switch {
	case !c.reading():
	case supported && !contact:
		c.drop(Drop{Metric: "heart_rate", Reason: Unmeasured, Detail: "no skin contact"})
	default:
		c.n.Readings = append(c.n.Readings, Reading{"heart_rate", Int(rate)})
	}
	if c.has(3, "energy_expended") {
		c.number("energy_expended", 2, "kJ")
	}
	if c.has(4, "rr_intervals") {
		c.list("rr_intervals", 2, "s/1024")
	}
}

// temperature is 0x2A1C and 0x2A1E, which share a form (Health Thermometer Service
// 1.0, sections 3.1 and 3.3). Every site counts as body temperature; the site is a
// field.
func temperature(c *coder) {
	c.flags(1)
	unit := unitCelsius
	if c.bit(0) {
		unit = unitDegF
	}
	value := c.float("temperature", unit)
	if unit == unitDegF && value.Kind == Number {
		c.fahrenheit("body_temp", value)
	} else {
		c.measured("body_temp", value, nil)
	}
	if c.has(1, "timestamp") {
		c.time("timestamp")
	}
	if c.has(2, "type") {
		c.enum("type", 1, temperatureSites)
	}
}

// fahrenheit converts exactly: (F - 32) * 5 / 9.
func (c *coder) fahrenheit(metric string, f Float) {
	value, ok := f.Decimal()
	if ok {
		celsius := value.Rat()
		celsius.Sub(celsius, big.NewRat(32, 1)).Mul(celsius, fiveNinths)
		value, ok = DecimalFromRat(celsius)
	}
	if c.reading() && !c.ended {
		c.value(metric, value, ok)
	}
}

var temperatureSites = []string{"", "armpit", "body", "ear", "finger", "gastro-intestinal tract", "mouth", "rectum", "toe", "tympanum"}

// bloodPressure is 0x2A35 (Blood Pressure Service 1.1, section 3.1).
func bloodPressure(c *coder) {
	unit, factor := pressureUnit(c)
	systolic := c.sfloat("systolic", unit)
	diastolic := c.sfloat("diastolic", unit)
	c.sfloat("mean_arterial_pressure", unit)
	c.measured("bp_systolic", systolic, factor)
	c.measured("bp_diastolic", diastolic, factor)
	pressureTail(c, true)
}

// cuffPressure is 0x2A36 (section 3.3): the pressure in the cuff while it deflates,
// which is nobody's blood pressure.
func cuffPressure(c *coder) {
	unit, _ := pressureUnit(c)
	c.sfloat("cuff_pressure", unit)
	c.sfloat("diastolic", unit)
	c.sfloat("mean_arterial_pressure", unit)
	pressureTail(c, false)
}

func pressureUnit(c *coder) (string, *big.Rat) {
	c.flags(1)
	if c.bit(0) {
		return unitKPa, mmHgPerKPa
	}
	return unitMMHg, nil
}

func pressureTail(c *coder, counts bool) {
	if c.has(1, "timestamp") {
		c.time("timestamp")
	}
	if c.has(2, "pulse_rate") {
		rate := c.sfloat("pulse_rate", unitPerMinute)
		if counts {
			c.measured("pulse_rate", rate, nil)
		}
	}
	if c.has(3, "user_id") {
		c.user("user_id")
	}
	if c.has(4, "measurement_status") {
		c.bits("measurement_status", 2, pressureStatus)
	}
}

// Bits 3 and 4 are one number: the pulse rate against the sensor's range.
var pressureStatus = []string{
	"body movement", "cuff too loose", "irregular pulse",
	"pulse rate above range", "pulse rate below range", "improper measurement position",
}

// spotOximetry is 0x2A5E (Pulse Oximeter Service 1.0, section 3.2).
func spotOximetry(c *coder) {
	c.flags(1)
	c.oximetry("", true)
	if c.has(0, "timestamp") {
		c.time("timestamp")
	}
	c.oximeterTail(1)
	if c.bit(4) {
		c.n.Record.ClockUnset = true
		c.derived("clock_not_set", true)
	}
}

// continuousOximetry is 0x2A5F (section 3.3). The fast and slow averages are
// fields; only the normal ones are readings.
func continuousOximetry(c *coder) {
	c.flags(1)
	c.oximetry("", true)
	if c.has(0, "spo2_fast") {
		c.oximetry("_fast", false)
	}
	if c.has(1, "spo2_slow") {
		c.oximetry("_slow", false)
	}
	c.oximeterTail(2)
}

// oximetry is one pair of saturation and pulse rate.
func (c *coder) oximetry(suffix string, counts bool) {
	saturation := c.sfloat("spo2"+suffix, unitPercent)
	rate := c.sfloat("pulse_rate"+suffix, unitPerMinute)
	if counts {
		c.measured("spo2", saturation, nil)
		c.measured("pulse_rate", rate, nil)
	}
}

// oximeterTail is the optional end that both forms share, announced from that bit
// on. Readings are discarded where a status says that they are none.
func (c *coder) oximeterTail(first int) {
	reason := ""
	if c.has(first, "measurement_status") {
		status := c.bits("measurement_status", 2, oximeterStatus)
		reason = firstOf(status&oximeterInvalid, oximeterStatus)
		c.n.Record.Stored = status&oximeterStored != 0
	}
	if c.has(first+1, "device_status") {
		status := c.bits("device_status", 3, oximeterDevice)
		if reason == "" {
			reason = firstOf(status&oximeterDetached, oximeterDevice)
		}
	}
	if c.has(first+2, "pulse_amplitude_index") {
		c.sfloat("pulse_amplitude_index", unitPercent)
	}
	if reason != "" {
		c.discard(Unmeasured, reason)
	}
}

// oximeterFeatures is 0x2A60 (section 3.1): what the sensor supports.
func oximeterFeatures(c *coder) {
	features := c.bits("features", 2, oximeterFeatureNames)
	c.featured(features, 0, "measurement_status_support", 2, oximeterStatus)
	c.featured(features, 1, "device_status_support", 3, oximeterDevice)
}

// featured are bits that a bit of the features announces.
func (c *coder) featured(features uint32, bit int, name string, wide int, names []string) {
	if features&(1<<bit) == 0 || c.err != nil {
		return
	}
	if c.ended {
		c.drop(Drop{Part: name, Reason: Cut})
		return
	}
	c.part = name
	c.bits(name, wide, names)
}

const (
	// oximeterInvalid: demonstration, testing, calibration, unavailable, invalid.
	oximeterInvalid = 1<<10 | 1<<11 | 1<<12 | 1<<13 | 1<<15
	oximeterStored  = 1 << 9
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
	oximeterFeatureNames = []string{
		"measurement status", "device and sensor status", "measurement storage", "timestamp", "fast averages", "slow averages",
		"pulse amplitude index", "several bonds",
	}
)
