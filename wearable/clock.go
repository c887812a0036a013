package wearable

// dateTime is 0x2A08.
func dateTime(c *coder) { c.time("date_time") }

// currentTime is 0x2A2B (Current Time Service 1.1, section 3.1): what the sensor's
// clock shows now. From it a bridge learns how far that is off.
func currentTime(c *coder) {
	c.time("date_time")
	c.enum("day_of_week", 1, []string{"unknown", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"})
	c.number("fractions", 1, "s/256")
	c.bits("adjusted", 1, []string{"by hand", "by reference", "time zone", "daylight saving"})
}

// localTime is 0x2A0F (section 3.2): the time zone of the sensor's clock.
func localTime(c *coder) { c.zone() }

// zone is a time zone in quarters of an hour and a daylight saving offset.
func (c *coder) zone() {
	const unknownZone, unknownSaving = -128, 255
	quarters := c.signed("time_zone", 1, "")
	saving := c.enum("dst_offset", 1, []string{0: "standard", 2: "half an hour", 4: "one hour", 8: "two hours", 255: "unknown"})
	if quarters == unknownZone || saving == unknownSaving || quarters < -48 || quarters > 56 || saving > 8 {
		return
	}
	c.n.Record.Zone, c.n.Record.ZoneKnown = int16(15*(int(quarters)+saving)), c.reading() && !c.ended
}
