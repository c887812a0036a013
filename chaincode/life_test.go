package chaincode_test

import (
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

func TestAWholeLifeFromEnrolmentToRelease(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	d := p.Devices[0]
	for _, msp := range []string{hospitalA, hospitalB, association} {
		w.Must(msp, contracts.RegistryAcknowledgeSeeds, record.AcknowledgeSeeds{Devices: []record.ID{d.ID}})
	}
	c := p.consents(hospitalA)
	w.Tick(start + 86400)

	rows := []record.SignedPointer{d.Row(startHour, 0), d.Row(startHour+1, 0), d.Day(startDay)}
	result := w.anchor(rows...)
	for i, item := range result.Items {
		if item.Outcome != record.Anchored || item.Leaf != i {
			t.Fatalf("item %d is %+v", i, item)
		}
	}
	for _, msp := range []string{hospitalA, association} {
		w.Must(msp, contracts.PointerAvailable, record.Available{Posts: []record.SignedAvailable{w.availability(msp, result.Batch, 0b111)}})
	}
	checkReceipt(t, w, rows[1], result.Batch)

	w.study()
	q := w.query()
	if q.Status != record.QueryAsked || q.Expires != q.Asked+state.QueryLife || q.Asker != hospitalA {
		t.Fatalf("asked: %+v", q)
	}
	root := record.RandomID()
	for i, msp := range []string{hospitalB, association} {
		w.Must(msp, contracts.QueryPostCohort, record.PostCohort{Query: q.ID, Root: root, Size: 12}, &q)
		if agreed := q.Status == record.QueryAgreed; agreed != (i == 1) {
			t.Fatalf("after %d posts the query is %s", i+1, q.Status)
		}
	}
	release := w.release(q, hospitalA, hospitalB)
	w.Must(hospitalA, contracts.QueryPostRelease, release, &q)
	if got := w.getQuery(q.ID); got.Status != record.QueryReleased || got.Release != release.Hash || got.Root != root || got.Size != 12 {
		t.Fatalf("released: %+v", got)
	}
	var s record.StudyState
	w.Read(hospitalB, contracts.StudyGet, state.StudyRef{Owner: hospitalA, ID: "resting"}, &s)
	if s.Spent != 500_000 {
		t.Errorf("the study has spent %d", s.Spent)
	}

	p.revoke(c)
	var states []state.ConsentState
	w.Read(gatewayMSP, contracts.ConsentOfPatient, p.ID.String(), &states)
	if len(states) != 1 || states[0].Signed.Document.Status != "revoked" || states[0].Time != start+86400 {
		t.Errorf("after the revocation: %+v", states)
	}
}

// checkReceipt checks what a bridge would: path, leaf, and members' posts.
func checkReceipt(t *testing.T, w *world, p record.SignedPointer, batch record.ID) {
	t.Helper()
	var r record.Receipt
	w.Read(gatewayMSP, contracts.PointerGet, state.PointerRef{Device: p.Pointer.Device, Kind: p.Pointer.Kind, Index: p.Pointer.Index}, &r)
	if r.Pointer.Pointer != p.Pointer || r.Batch != batch || len(r.Posts) != 2 {
		t.Fatalf("receipt: %+v", r)
	}
	if err := record.VerifyPath(r.Batch, p.Pointer.Digest(w.Genesis.Network), r.Leaf, r.Count, r.Path); err != nil {
		t.Error(err)
	}
	for _, post := range r.Posts {
		key := consortium.Public(w.Keys[post.Member])
		if err := record.Verify(key, post.Post.Digest(w.Genesis.Network), post.Signature); err != nil {
			t.Errorf("post of %s: %v", post.Member, err)
		}
	}
	var again record.Receipt
	w.Read(gatewayMSP, contracts.PointerGet, quoted(state.PointerKey(p.Pointer)), &again)
	if !equalJSON(r, again) {
		t.Error("the receipt by state key differs")
	}
}
