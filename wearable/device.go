package wearable

// battery is 0x2A19 (Battery Service 1.1, section 3.1).
func battery(c *coder) {
	if level := c.number("battery_level", 1, unitPercent); c.reading() && level > 100 {
		c.drop(Drop{Part: "battery_level", Reason: ReservedValue})
	}
}

// information is the texts of the Device Information Service 1.1 (section 3.1 to
// 3.6): who made the sensor.
func information(name string) func(*coder) {
	return func(c *coder) { c.text(name) }
}

// systemID is 0x2A23 (section 3.7).
func systemID(c *coder) {
	c.bytes("manufacturer_identifier", 5)
	c.bytes("organisation_identifier", 3)
}

// pnpID is 0x2A50 (section 3.9).
func pnpID(c *coder) {
	c.enum("vendor_source", 1, []string{"", "Bluetooth SIG", "USB Implementer's Forum"})
	c.number("vendor", 2, "")
	c.number("product", 2, "")
	c.number("version", 2, "")
}

func tenth() Decimal { return Decimal{coef: 1, scale: 1} }

// massStep and heightStep are the resolutions of scales.
func massStep(imperial bool) (Decimal, string) {
	if imperial {
		return Decimal{coef: 1, scale: 2}, "[lb_av]"
	}
	return Decimal{coef: 5, scale: 3}, "kg"
}

func heightStep(imperial bool) (Decimal, string) {
	if imperial {
		return tenth(), "[in_i]"
	}
	return Decimal{coef: 1, scale: 3}, "m"
}

// weight is 0x2A9D (Weight Scale Service 1.0, section 3.2). No metric is fed by it.
func weight(c *coder) {
	c.flags(1)
	mass, massUnit := massStep(c.bit(0))
	height, heightUnit := heightStep(c.bit(0))
	c.scaled("weight", mass, massUnit, true)
	if c.has(1, "timestamp") {
		c.time("timestamp")
	}
	if c.has(2, "user_id") {
		c.user("user_id")
	}
	if c.has(3, "body_mass_index") {
		c.scaled("body_mass_index", tenth(), "kg/m2", false)
		c.scaled("height", height, heightUnit, false)
	}
}

// bodyComposition is 0x2A9C (Body Composition Service 1.0, section 3.2). No metric
// is fed by it.
func bodyComposition(c *coder) {
	c.flags(2)
	mass, massUnit := massStep(c.bit(0))
	height, heightUnit := heightStep(c.bit(0))
	c.derived("more_follows", c.bit(12))
	c.scaled("body_fat", tenth(), unitPercent, true)
	if c.has(1, "timestamp") {
		c.time("timestamp")
	}
	if c.has(2, "user_id") {
		c.user("user_id")
	}
	if c.has(3, "basal_metabolism") {
		c.number("basal_metabolism", 2, "kJ")
	}
	if c.has(4, "muscle") {
		c.scaled("muscle", tenth(), unitPercent, false)
	}
	for i, part := range []string{"muscle_mass", "fat_free_mass", "soft_lean_mass", "body_water_mass"} {
		if c.has(5+i, part) {
			c.scaled(part, mass, massUnit, false)
		}
	}
	if c.has(9, "impedance") {
		c.scaled("impedance", tenth(), "Ohm", false)
	}
	if c.has(10, "weight") {
		c.scaled("weight", mass, massUnit, false)
	}
	if c.has(11, "height") {
		c.scaled("height", height, heightUnit, false)
	}
}
