package wearable

import "math/big"

// glucose is 0x2A18 (Glucose Service 1.0, section 3.1). Meters send records of
// their memory and nothing else, on request by the Record Access Control Point.
// Measurements of control solution are dropped, and those that the meter marks as
// failed.
func glucose(c *coder) {
	c.flags(1)
	c.sequence("sequence_number", 2)
	c.n.Record.Stored = true
	c.time("base_time")
	if c.has(0, "time_offset") {
		minutes := c.signed("time_offset", 2, "min")
		c.n.Record.Minutes = int(minutes)
	}
	reason, detail := Reason(0), ""
	if c.has(1, "concentration") {
		reason = c.concentration(c.bit(2))
	}
	if c.has(3, "sensor_status") {
		status := c.bits("sensor_status", 2, glucoseStatus)
		if failed := firstOf(status&glucoseFailed, glucoseStatus); failed != "" {
			reason, detail = Unmeasured, failed
		}
	}
	c.derived("context_follows", c.bit(4))
	if reason != 0 {
		c.discard(reason, detail)
	}
}

// concentration is the value with its type and location; it returns why the value
// must not count, if so.
func (c *coder) concentration(molar bool) Reason {
	unit, factor := "kg/L", (*big.Rat)(nil)
	if molar {
		unit, factor = "mol/L", mgdLPerMolL
	}
	value := c.sfloat("concentration", unit)
	if !molar && value.Kind == Number {
		value.Exponent += mgdLInKgL
	}
	c.measured("glucose", value, factor)
	kind, location := c.nibbles("type", "sample_location", glucoseTypes, glucoseLocations)
	if kind == glucoseControlType || location == glucoseControlLocation {
		return ControlSolution
	}
	return 0
}

// mgdLInKgL: 1 kg/L is 10^5 mg/dL.
const mgdLInKgL = 5

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

// glucoseContext is 0x2A34 (section 3.2): what the person ate, did and took. It is
// of the measurement with the same sequence number.
func glucoseContext(c *coder) {
	c.flags(1)
	c.sequence("sequence_number", 2)
	c.n.Record.Stored = true
	if c.has(7, "extended_flags") {
		c.number("extended_flags", 1, "")
	}
	if c.has(0, "carbohydrate") {
		c.enum("carbohydrate", 1, []string{"", "breakfast", "lunch", "dinner", "snack", "drink", "supper", "brunch"})
		c.sfloat("carbohydrate_mass", "kg")
	}
	if c.has(1, "meal") {
		c.enum("meal", 1, []string{"", "before", "after", "fasting", "casual", "bedtime"})
	}
	if c.has(2, "tester") {
		c.nibbles("tester", "health", contextTesters, contextHealth)
	}
	if c.has(3, "exercise_duration") {
		c.number("exercise_duration", 2, "s")
		c.number("exercise_intensity", 1, unitPercent)
	}
	if c.has(4, "medication") {
		unit := "kg"
		if c.bit(5) {
			unit = "L"
		}
		c.enum("medication", 1, []string{"", "rapid acting insulin", "short acting insulin", "intermediate acting insulin", "long acting insulin", "pre-mixed insulin"})
		c.sfloat("medication_amount", unit)
	}
	if c.has(6, "hba1c") {
		c.sfloat("hba1c", unitPercent)
	}
}

var (
	contextTesters = []string{"", "self", "health care professional", "laboratory", "", "", "", "", "", "", "", "", "", "", "", "not available"}
	contextHealth  = []string{
		"", "minor issues", "major issues", "during menses", "under stress", "no issues",
		"", "", "", "", "", "", "", "", "", "not available",
	}
)

// recordAccess is 0x2A52, the Record Access Control Point (Glucose Service 1.0,
// section 3.4; Continuous Glucose Monitoring Service 1.0.2, section 3.5; Generic
// Health Sensor Service, section 3.4, whose numbers have four bytes): what a client
// writes, and what the sensor answers.
func recordAccess(c *coder) {
	opcode := c.enum("opcode", 1, recordOpcodes)
	operator := c.enum("operator", 1, recordOperators)
	switch opcode {
	case recordReport, recordDelete, recordCount, recordReportCombined:
		if operator >= recordUpTo && operator <= recordWithin {
			c.recordFilter(operator)
		}
	case recordNumber, recordCombined:
		c.recordField("number", c.recordWide("number", 1))
	case recordResponse:
		c.enum("request", 1, recordOpcodes)
		c.enum("response", 1, recordResponses)
	}
}

// recordFilter selects records by a lower bound, an upper one, or both.
func (c *coder) recordFilter(operator int) {
	filter := c.enum("filter", 1, []string{"", "sequence number", "user facing time"})
	bounds := []string{"from", "to"}
	switch operator {
	case recordFrom:
		bounds = bounds[:1]
	case recordUpTo:
		bounds = bounds[1:]
	}
	wide := c.recordWide(bounds[0], len(bounds))
	for _, bound := range bounds {
		if filter == recordByTime {
			c.bytes(bound, 7)
		} else {
			c.recordField(bound, wide)
		}
	}
}

// recordWide returns how many bytes a number of a control point has: what is left
// tells, and while writing the number itself.
func (c *coder) recordWide(name string, numbers int) int {
	if !c.writes {
		if len(c.data)-c.at == 4*numbers {
			return 4
		}
		return 2
	}
	if f := c.find(name); f != nil {
		if n, ok := f.Value.(int64); ok && (n > 0xFFFF || f.Unit == wideNumber) {
			return 4
		}
	}
	return 2
}

func (c *coder) recordField(name string, wide int) {
	unit := ""
	if wide == 4 {
		unit = wideNumber
	}
	c.number(name, wide, unit)
}

// wideNumber is the unit of a number that a control point sends in four bytes
// although two would do.
const wideNumber = "{record}"

const (
	recordReport         = 1
	recordDelete         = 2
	recordAbort          = 3
	recordCount          = 4
	recordNumber         = 5
	recordResponse       = 6
	recordReportCombined = 7
	recordCombined       = 8

	recordAll    = 1
	recordUpTo   = 2
	recordFrom   = 3
	recordWithin = 4

	recordBySequence = 1
	recordByTime     = 2

	recordSuccess = 1
	recordNone    = 6
)

var (
	recordOpcodes = []string{
		"", "report stored records", "delete stored records", "abort operation", "report number of stored records",
		"number of stored records", "response", "combined report", "combined report response",
	}
	recordOperators = []string{"null", "all records", "up to", "from", "within", "first record", "last record"}
	recordResponses = []string{
		"", "success", "opcode not supported", "invalid operator", "operator not supported", "invalid operand",
		"no records found", "abort unsuccessful", "procedure not completed", "operand not supported", "server busy",
	}
)

// ReportAll asks for all records of a sensor's memory: write it to
// UUIDRecordAccess after subscribing to that and to the measurements. The records
// come as notifications, and after them an indication that RecordsDone reads.
func ReportAll() []byte { return []byte{recordReport, recordAll} }

// ReportFrom asks for the records from that sequence number on.
func ReportFrom(sequence uint16) []byte {
	return []byte{recordReport, recordFrom, recordBySequence, byte(sequence), byte(sequence >> 8)}
}

// CountRecords asks how many records there are.
func CountRecords() []byte { return []byte{recordCount, recordAll} }

// DeleteRecords deletes the records up to that sequence number from the sensor.
func DeleteRecords(upTo uint16) []byte {
	return []byte{recordDelete, recordUpTo, recordBySequence, byte(upTo), byte(upTo >> 8)}
}

// AbortRecords ends a report that is under way.
func AbortRecords() []byte { return []byte{recordAbort, 0} }

// RecordsDone tells what an answer of the control point means for the request with
// that first byte: done is false for answers to others. Having no records is no
// failure. failure is the sensor's reason for people, "" where there is none.
func RecordsDone(n *Notification, request byte) (done bool, failure string) {
	opcode, _ := n.Int("opcode")
	if opcode == recordNumber {
		return request == recordCount, ""
	}
	asked, _ := n.Int("request")
	response, ok := n.Int("response")
	if opcode != recordResponse || !ok || asked != int64(request) {
		return false, ""
	}
	if response == recordSuccess || response == recordNone {
		return true, ""
	}
	return true, nameOf(int(response), recordResponses)
}

// glucoseMonitor is 0x2AA7 (Continuous Glucose Monitoring Service 1.0.2, section
// 3.1): one record or several, each with its size in front.
func glucoseMonitor(c *coder) {
	if c.writes {
		monitorRecord(c)
		for i := range c.n.Following {
			sub := coder{n: &c.n.Following[i], writes: true, full: true, flagsAt: -1}
			monitorRecord(&sub)
			c.data, c.err = append(c.data, sub.data...), firstError(c.err, sub.err)
		}
		return
	}
	for n := c.n; c.at < len(c.data) || n == c.n; {
		size := 0
		if c.at < len(c.data) {
			size = int(c.data[c.at])
		}
		if size < monitorLeast || size > len(c.data)-c.at {
			if n == c.n {
				c.fail("its first record says that it has %d bytes", size)
				return
			}
			c.drop(Drop{Part: "record", Reason: Cut, Detail: nameOf(len(c.n.Following)+1, nil)})
			c.at = len(c.data)
			return
		}
		if n == nil {
			c.n.Following = append(c.n.Following, Notification{UUID: c.n.UUID, Name: c.n.Name})
			n = &c.n.Following[len(c.n.Following)-1]
		}
		sub := coder{data: c.data[c.at : c.at+size], n: n, full: c.full}
		monitorRecord(&sub)
		c.at += size
		if sub.err != nil && n != c.n {
			c.n.Following = c.n.Following[:len(c.n.Following)-1]
			c.drop(Drop{Part: "record", Reason: UnknownForm, Detail: sub.err.Error()})
		} else if sub.err != nil {
			c.err = sub.err
			return
		}
		n = nil
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// monitorLeast is the size of a record without optional parts.
const monitorLeast = 6

func monitorRecord(c *coder) {
	start := len(c.data)
	if c.writes {
		c.data = append(c.data, 0)
	} else {
		c.take(1, "size")
	}
	c.flags(1)
	value := c.sfloat("glucose", "mg/dL")
	c.measured("glucose", value, nil)
	minutes := c.number("time_offset", 2, "min")
	c.n.Record.Minutes, c.n.Record.SinceSession = int(minutes), true
	detail := ""
	for i, part := range monitorStatus {
		if !c.has(7-i, part.name) {
			continue
		}
		status := c.bits(part.name, 1, part.names)
		if detail == "" {
			detail = firstOf(status&part.invalid, part.names)
		}
	}
	if c.has(0, "trend") {
		c.sfloat("trend", "mg/dL/min")
	}
	if c.has(1, "quality") {
		c.sfloat("quality", unitPercent)
	}
	if c.writes {
		c.data[start] = byte(len(c.data) - start)
		if c.find("e2e_crc") != nil {
			c.data[start] += 2
		}
	}
	c.checksum(start)
	c.rest()
	if detail != "" {
		c.discard(Unmeasured, detail)
	}
}

// monitorStatus are the three octets of the sensor's status, in their order: bits
// 7, 6 and 5 of the flags announce them. invalid are the bits after which a value
// is no measurement.
var monitorStatus = [...]struct {
	name    string
	invalid uint32
	names   []string
}{
	{"status", 1<<0 | 1<<2 | 1<<3 | 1<<5, []string{
		"session stopped", "battery low", "wrong type of sensor", "sensor malfunction", "device alert", "general fault",
	}},
	{"calibration", 1<<4 | 1<<5, []string{
		"clock to be set", "calibration not allowed", "calibration recommended", "calibration required",
		"temperature too high", "temperature too low",
	}},
	{"warning", 1<<6 | 1<<7, []string{
		"below patient's low", "above patient's high", "hypoglycaemia", "hyperglycaemia", "falling fast", "rising fast",
		"below sensor's range", "above sensor's range",
	}},
}

// checksum is the E2E-CRC (section 3.11) of what begins at start, if it is there:
// a sensor with the feature ends each value with one. A wrong one means that
// nothing before it can be trusted.
func (c *coder) checksum(start int) {
	const name = "e2e_crc"
	if c.writes {
		if c.find(name) != nil {
			c.data = appendUint(c.data, uint64(E2ECRC(c.data[start:])), 2)
		}
		return
	}
	if c.err != nil || c.ended || len(c.data)-c.at != 2 {
		return
	}
	want := E2ECRC(c.data[:c.at])
	if got := c.number(name, 2, ""); got != int64(want) {
		c.fail("its checksum is %04x and not %04x", got, want)
	}
}

// E2ECRC is the checksum of continuous glucose monitors: CRC-CCITT, polynomial
// D16+D12+D5+1, initial value 0xFFFF, least significant bit first (Continuous
// Glucose Monitoring Service 1.0.2, section 3.11).
func E2ECRC(data []byte) uint16 {
	crc := uint16(0xFFFF)
	for _, b := range data {
		crc ^= uint16(b)
		for range 8 {
			low := crc & 1
			crc >>= 1
			crc ^= 0x8408 * low
		}
	}
	return crc
}

// monitorFeatures is 0x2AA8 (section 3.2). Its checksum is 0xFFFF where the sensor
// has none.
func monitorFeatures(c *coder) {
	const checks = 1 << 12
	features := c.bits("features", 3, monitorFeatureNames)
	c.nibbles("type", "sample_location", glucoseTypes, glucoseLocations)
	if features&checks != 0 {
		if !c.writes && len(c.data)-c.at < 2 {
			c.fail("it ends within the e2e_crc")
		}
		c.checksum(0)
		return
	}
	c.number("e2e_crc", 2, "")
}

var monitorFeatureNames = []string{
	"calibration", "patient's alerts", "hypoglycaemia alerts", "hyperglycaemia alerts", "rate alerts", "device alert",
	"malfunction detection", "temperature detection", "result range detection", "low battery detection",
	"sensor type detection", "general fault", "e2e-crc", "several bonds", "several sessions", "trend", "quality",
}

// monitorState is 0x2AA9 (section 3.3).
func monitorState(c *coder) {
	minutes := c.number("time_offset", 2, "min")
	c.n.Record.Minutes, c.n.Record.SinceSession = int(minutes), true
	for _, part := range monitorStatus {
		c.bits(part.name, 1, part.names)
	}
	c.checksum(0)
}

// sessionStart is 0x2AAA (section 3.4): when the session began by the sensor's
// clock, and the time zone of that.
func sessionStart(c *coder) {
	c.time("session_start")
	c.zone()
	c.checksum(0)
}

// sessionRunTime is 0x2AAB (section 3.5).
func sessionRunTime(c *coder) {
	c.number("run_time", 2, "h")
	c.checksum(0)
}
