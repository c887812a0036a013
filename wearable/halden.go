package wearable

// The Halden ring is nobody's product: an invented vendor's sensor, which shows
// that one is a file and its vectors (testdata/halden.json). Its characteristic
// has the vendor's own UUID.
//
// A value is flags (bit 0: skin temperature; bit 1: age), a whole number of beats a
// minute (0: none found), then the skin temperature in hundredths of a degree
// (int16) and the age of the measurement in minutes (uint16), where the ring kept it
// while it was out of reach.
var halden = Characteristic{
	UUID: "7d1e0a01-5b1c-4c39-9d5e-20c3a1f0be77", Name: "Halden Ring Measurement", Profile: "Halden Ring (invented)",
	Metrics: []string{"pulse_rate", "skin_temp"}, Stored: "the value has its age",
	layout: func(c *coder) {
		c.flags(1)
		beats := c.number("pulse_rate", 1, unitPerMinute)
		switch {
		case !c.reading():
		case beats == 0:
			c.drop(Drop{Metric: "pulse_rate", Reason: Unmeasured, Detail: "no pulse found"})
		default:
			c.value("pulse_rate", Int(beats), true)
		}
		if c.has(0, "skin_temperature") {
			hundredths := c.signed("skin_temperature", 2, "cCel")
			if celsius, ok := NewDecimal(hundredths, 2); c.reading() && !c.ended {
				c.value("skin_temp", celsius, ok)
			}
		}
		if c.has(1, "age") {
			minutes := c.number("age", 2, "min")
			c.n.Record.Age, c.n.Record.Stored = int(minutes), c.reading() && !c.ended && minutes > 0
		}
	},
}
