package he

import "fmt"

// securityTable is a published table of the largest log2 Q at which RLWE with a
// uniform ternary secret and errors of standard deviation 3.2 (3.19) is thought to
// withstand classical attacks, by security level and log2 N.
type securityTable struct {
	source string
	limits map[int]map[int]int // level -> log2 N -> bits
}

// The first table is older and has more levels, the second is newer and lower. A
// profile must satisfy both.
var securityTables = []securityTable{
	{"Homomorphic Encryption Security Standard (Albrecht et al., HomomorphicEncryption.org, November 2018), table 1", map[int]map[int]int{
		128: {10: 27, 11: 54, 12: 109, 13: 218, 14: 438, 15: 881},
		192: {10: 19, 11: 37, 12: 75, 13: 152, 14: 305, 15: 611},
		256: {10: 14, 11: 29, 12: 58, 13: 118, 14: 237, 15: 476},
	}},
	{"Security Guidelines for Implementing Homomorphic Encryption (Bossuat et al., IACR ePrint 2024/463), table 5.2", map[int]map[int]int{
		128: {10: 26, 11: 53, 12: 106, 13: 214, 14: 430, 15: 868},
	}},
}

// requiredSecurity is the classical security in bits that every profile has.
const requiredSecurity = 128

// SecuritySource names where the limits of the modulus come from: classical
// attacks, ternary secret.
var SecuritySource = fmt.Sprintf("%s; %s", securityTables[0].source, securityTables[1].source)

// modulusLimit is the largest log2 Q that every table with this level allows, 0 if
// none has it.
func modulusLimit(level, logN int) int {
	limit := 0
	for _, t := range securityTables {
		if bits := t.limits[level][logN]; bits > 0 && (limit == 0 || bits < limit) {
			limit = bits
		}
	}
	return limit
}

// securityLevel is the highest level of the tables that a modulus of this many
// bits reaches, 0 if it reaches none.
func securityLevel(modulusBits, logN int) int {
	for _, level := range []int{256, 192, requiredSecurity} {
		if modulusBits <= modulusLimit(level, logN) {
			return level
		}
	}
	return 0
}
