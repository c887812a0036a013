package record

import "testing"

// Digests of cohorts without corrections are those from before there were any.
func TestMemberWithoutCorrectionsKeepsItsDigest(t *testing.T) {
	type before struct {
		Device ID         `json:"device"`
		Ranges [][2]int64 `json:"ranges"`
	}
	ranges := [][2]int64{{5, 9}, {11, 12}}
	want := Digest(DomainCohortMember, "n", before{ID{1}, ranges})
	for _, none := range [][][2]int64{nil, {}} {
		if Digest(DomainCohortMember, "n", CohortMember{ID{1}, ranges, none}) != want {
			t.Errorf("%#v changes the digest", none)
		}
	}
	for _, some := range [][][2]int64{{{5, 1}}, {{5, 2}}, {{6, 1}}} {
		if Digest(DomainCohortMember, "n", CohortMember{ID{1}, ranges, some}) == want {
			t.Errorf("%v is not in the digest", some)
		}
	}
	m := CohortMember{ID{1}, ranges, [][2]int64{{5, 1}, {5, 3}}}
	if m.Hours() != 5 || m.Rows() != 7 {
		t.Errorf("%d hours, %d rows", m.Hours(), m.Rows())
	}
}
