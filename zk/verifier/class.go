package verifier

import "fmt"

// Class is a size of the predicate circuit: how many consecutive days one proof
// covers. Each class has its own keys.
type Class struct {
	Name string
	Days int
}

// MaxDays is the largest number of days a class may have; widths of numbers in
// the circuit rest on it.
const MaxDays = 7

var classes = []Class{{Name: "day", Days: 1}, {Name: "week", Days: MaxDays}}

// Classes returns the registered classes.
func Classes() []Class { return append([]Class(nil), classes...) }

// ClassByName finds a registered class. The error names those there are.
func ClassByName(name string) (Class, error) {
	for _, c := range classes {
		if c.Name == name {
			return c, nil
		}
	}
	known := ""
	for _, c := range classes {
		known += " " + c.Name
	}
	return Class{}, fmt.Errorf("no circuit class %.64q; there are:%s", name, known)
}
