package consent

// Purpose is a code of HL7 v3 PurposeOfUse that a consent may name.
type Purpose struct {
	Code string
	Name string // for people
	// Within is the code of the wider purpose that this one is part of, or
	// empty. A denial of the wider purpose denies this one too; a permission
	// never reaches beyond the purpose that it names.
	Within string
}

// purposes follow the hierarchy of the HL7 v3 ActReason code system.
var purposes = []Purpose{
	{"TREAT", "treatment", ""},
	{"ETREAT", "emergency treatment", "TREAT"},
	{"HRESCH", "healthcare research", ""},
	{"CLINTRCH", "clinical trial research", "HRESCH"},
	{"PUBHLTH", "public health", ""},
	{"HOPERAT", "healthcare operations", ""},
	{"PATRQT", "patient's own request", ""},
}

// PurposeByCode finds a purpose.
func PurposeByCode(code string) (Purpose, bool) {
	for _, p := range purposes {
		if p.Code == code {
			return p, true
		}
	}
	return Purpose{}, false
}

// deniedBy reports whether a denial for the purpose denied covers asked.
func deniedBy(asked, denied string) bool {
	if asked == denied {
		return true
	}
	p, ok := PurposeByCode(asked)
	return ok && p.Within != "" && p.Within == denied
}

// operations that a consent may name.
var operations = []string{OpAggregate, OpPredicate, OpShare}
