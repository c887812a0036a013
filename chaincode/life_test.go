package chaincode_test

import (
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/record"
)

func TestAWholeLifeFromEnrolmentToRelease(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	d := p.devices[0]
	for _, msp := range []string{hospitalA, hospitalB, association} {
		w.must(msp, "Registry:AcknowledgeSeeds", record.AcknowledgeSeeds{Devices: []record.ID{d.id}}, nil)
	}
	c := p.consents(hospitalA)
	w.tick(start + 86400)

	rows := []record.SignedPointer{d.row(w, startHour), d.row(w, startHour+1), d.day(w, startDay)}
	result := w.anchor(rows...)
	for i, item := range result.Items {
		if item.Outcome != record.Anchored || item.Leaf != i {
			t.Fatalf("item %d is %+v", i, item)
		}
	}
	for _, msp := range []string{hospitalA, association} {
		w.must(msp, "Pointer:Available", record.Available{Posts: []record.SignedAvailable{w.availability(msp, result.Batch, 0b111)}}, nil)
	}
	checkReceipt(t, w, rows[1], result.Batch)

	w.study()
	q := w.query()
	if q.Status != record.QueryAsked || q.Expires != q.Asked+state.QueryLife || q.Asker != hospitalA {
		t.Fatalf("asked: %+v", q)
	}
	root := record.RandomID()
	for i, msp := range []string{hospitalB, association} {
		w.must(msp, "Query:PostCohort", record.PostCohort{Query: q.ID, Root: root, Size: 12}, &q)
		if agreed := q.Status == record.QueryAgreed; agreed != (i == 1) {
			t.Fatalf("after %d posts the query is %s", i+1, q.Status)
		}
	}
	release := w.release(q, hospitalA, hospitalB)
	w.must(hospitalA, "Query:PostRelease", release, &q)
	if got := w.getQuery(q.ID); got.Status != record.QueryReleased || got.Release != release.Hash || got.Root != root || got.Size != 12 {
		t.Fatalf("released: %+v", got)
	}
	var s record.StudyState
	w.read(hospitalB, "Study:Get", state.StudyRef{Owner: hospitalA, ID: "resting"}, &s)
	if s.Spent != 500_000 {
		t.Errorf("the study has spent %d", s.Spent)
	}

	p.revoke(c)
	var states []state.ConsentState
	w.read(gatewayMSP, "Consent:OfPatient", p.id.String(), &states)
	if len(states) != 1 || states[0].Signed.Document.Status != "revoked" || states[0].Time != start+86400 {
		t.Errorf("after the revocation: %+v", states)
	}
}

// checkReceipt checks what a bridge would: path, leaf, and members' posts.
func checkReceipt(t *testing.T, w *world, p record.SignedPointer, batch record.ID) {
	t.Helper()
	var r record.Receipt
	w.read(gatewayMSP, "Pointer:Get", state.PointerRef{Device: p.Pointer.Device, Kind: p.Pointer.Kind, Index: p.Pointer.Index}, &r)
	if r.Pointer.Pointer != p.Pointer || r.Batch != batch || len(r.Posts) != 2 {
		t.Fatalf("receipt: %+v", r)
	}
	if err := record.VerifyPath(r.Batch, p.Pointer.Digest(w.genesis.Network), r.Leaf, r.Count, r.Path); err != nil {
		t.Error(err)
	}
	for _, post := range r.Posts {
		key := record.PublicKeyBytes(&w.keys[post.Member].PublicKey)
		if err := record.Verify(key, post.Post.Digest(w.genesis.Network), post.Signature); err != nil {
			t.Errorf("post of %s: %v", post.Member, err)
		}
	}
	var again record.Receipt
	w.read(gatewayMSP, "Pointer:Get", quoted(t, state.PointerKey(p.Pointer)), &again)
	if !equalJSON(t, r, again) {
		t.Error("the receipt by state key differs")
	}
}
