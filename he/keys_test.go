package he

import (
	"fmt"
	"testing"

	"github.com/vitalveil/vitalveil/internal/record"
)

func TestAMembersKeysAreOnePerPurposeAndSurviveStorage(t *testing.T) {
	k, err := NewMemberKeys()
	if err != nil {
		t.Fatal(err)
	}
	m := k.Enter(record.Member{MSP: "A"})
	var public []string
	for _, b := range m.BoxKeys() {
		public = append(public, string(b))
	}
	if m.MSP != "A" || record.Repeats(public) {
		t.Errorf("the keys are %x", public)
	}
	stored, err := k.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseMemberKeys(stored)
	if err != nil || !again.Of(m) {
		t.Errorf("the stored keys are others: %v", err)
	}
	if _, err := ParseMemberKeys(stored[1:]); err == nil {
		t.Error("keys of another length were read")
	}
	if s := fmt.Sprintf("%v %+v %#v %s", k, k, *k, k); s != "[secret] [secret] [secret] [secret]" {
		t.Errorf("they print as %s", s)
	}
	for i := range m.BoxKeys() {
		other := k.Enter(record.Member{})
		other.BoxKeys()[i][0] ^= 1
		if k.Of(other) {
			t.Errorf("they pass as keys with another number %d", i)
		}
	}
	if (*MemberKeys)(nil).Of(m) || (&MemberKeys{}).Of(m) {
		t.Error("no keys pass as these")
	}
}
