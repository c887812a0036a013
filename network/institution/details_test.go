package institution

import (
	"context"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

func (w *world) ref(p *person) details.Ref {
	w.Helper()
	s, known := w.members[hospitalA].Index().Patient(p.ID)
	if !known {
		w.Fatal("the patient is not in the index")
	}
	return details.RefOf(s)
}

func TestMembersHoldDetailsKeysUntilTheErasure(t *testing.T) {
	w := settledWorld(t, 12)
	gone, left := w.patients[0], w.patients[1]
	r := w.ref(gone)
	w.everywhere("details keys", func(in *Institution) bool {
		_, a := in.Held(r)
		_, b := in.Held(w.ref(left))
		return a && b
	})
	w.erase(gone)
	w.allReport(gone)
	for i := range msps {
		in := w.members[i].Institution
		if _, held := in.Held(r); held {
			t.Errorf("%s has reported and holds the key", msps[i])
		}
		if _, err := in.DetailsKey(t.Context(), r); fault.Of(err) != fault.Purged {
			t.Errorf("%s after the erasure: %v", msps[i], err)
		}
		if _, held := in.Held(w.ref(left)); !held {
			t.Errorf("%s lost the key of somebody else", msps[i])
		}
	}
	// Not even for a member that has not read of the erasure yet, while the boxes are
	// still there.
	w.down(association)
	w.dropCheckpoint(association)
	blind := must(New(w.config(association)))
	if _, err := blind.DetailsKey(t.Context(), r); fault.Of(err) != fault.Purged {
		t.Errorf("a member that reads the ledger again opens the boxes: %v", err)
	}
	if err := blind.Close(); err != nil {
		t.Error(err)
	}
}

// A member without a box, because it joined later, takes other keys or cannot fetch the
// blob, gets the key from the others.
func TestAMemberWithoutABoxAsksTheOthers(t *testing.T) {
	w := newWorld(t)
	all := w.Epoch.Members
	w.Epoch.Members = all[:2]
	p := w.newPerson()
	w.Epoch.Members = all
	w.everywhere("details keys", func(in *Institution) bool {
		s, known := in.Index().Patient(p.ID)
		if !known {
			return false
		}
		_, held := in.Held(details.RefOf(s))
		return held
	})
}

// A patient's side that seals different keys to different members splits nobody: what
// counts is the key whose digest it signed.
func TestAttackAnotherKeyThanThePatientSigned(t *testing.T) {
	w := newWorld(t)
	p := w.newPerson()
	w.everywhere("the patient", func(in *Institution) bool { _, known := in.Index().Patient(p.ID); return known })
	r := w.ref(p)
	in := w.members[hospitalA].Institution
	forged := w.put(must(details.SealBoxes(networkName, p.ID, details.NewKey(), w.Epoch.Members)))
	want := must(in.DetailsKey(t.Context(), r))
	if err := in.vault.Remove(store.DetailsKey(p.ID)); err != nil {
		t.Fatal(err)
	}
	got, err := in.DetailsKey(t.Context(), details.Ref{Patient: r.Patient, Digest: r.Digest, Blob: forged})
	if err != nil || got != want {
		t.Errorf("with boxes of another key: %v", err)
	}
	if _, err := in.keyring.ownKey(t.Context(), details.Ref{Patient: r.Patient, Digest: record.RandomID(), Blob: r.Blob}); err == nil {
		t.Error("a key with another digest than the one asked for is taken")
	}
}

// The contracts ask for what their peer says about a patient. A lie about one whose key is
// not here yet must not keep the real one out.
func TestAttackAPeerLiesAboutAPatientsKeyFirst(t *testing.T) {
	w := newWorld(t)
	p := w.newPerson()
	in, k := w.members[hospitalA].Institution, details.NewKey()
	w.everywhere("the patient", func(in *Institution) bool { _, known := in.Index().Patient(p.ID); return known })
	want := must(in.DetailsKey(t.Context(), w.ref(p)))
	if err := in.vault.Remove(store.DetailsKey(p.ID)); err != nil {
		t.Fatal(err)
	}
	nobody := record.RandomID() // whose enrolment this member has not read
	for _, id := range []record.ID{p.ID, nobody} {
		lie := details.Ref{Patient: id, Digest: k.Digest(networkName), Blob: w.put(must(details.SealBoxes(networkName, id, k, w.Epoch.Members)))}
		// The member may have fetched the patient's own key again meanwhile: then a lie
		// about it is refused at once.
		if _, err := in.DetailsKey(t.Context(), lie); err != nil && id == nobody {
			t.Fatalf("the lie is no key at all: %v", err)
		}
		if _, found, err := in.vault.Get(store.DetailsKey(id)); err != nil || found && id == nobody {
			t.Errorf("a key that nobody signed is stored: %v", err)
		}
	}
	if got, err := in.DetailsKey(t.Context(), w.ref(p)); err != nil || got != want {
		t.Errorf("the patient's own key does not come any more: %v", err)
	}
}

func TestAttackDetailsKeyForAFormerMember(t *testing.T) {
	w := settledWorld(t, 12)
	in, p := w.members[hospitalA].Institution, w.patients[0]
	if _, err := in.keyring.give(t.Context(), msps[hospitalB], p.ID.String()); err != nil {
		t.Errorf("a member is refused: %v", err)
	}
	for who, want := range map[string]string{"FormerHospital": "not a member", "": "not a member"} {
		if _, err := in.keyring.give(t.Context(), who, p.ID.String()); fault.Of(err) != fault.Forbidden || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gets a key: %v", who, err)
		}
	}
	if _, err := in.keyring.give(t.Context(), msps[hospitalB], record.RandomID().String()); fault.Of(err) != fault.NotFound {
		t.Errorf("of nobody: %v", err)
	}
	if _, err := in.keyring.give(t.Context(), msps[hospitalB], "../seed"); fault.Of(err) != fault.Invalid {
		t.Errorf("of no patient's name: %v", err)
	}
	w.erase(p)
	w.allReport(p)
	if _, err := in.keyring.give(context.Background(), msps[hospitalB], p.ID.String()); fault.Of(err) != fault.Purged {
		t.Errorf("after the erasure: %v", err)
	}
}
