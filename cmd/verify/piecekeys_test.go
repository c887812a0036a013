package verify

import (
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// TestAttackFaultyPieceKeyWithoutItsEvidence: a ledger says that a member's key was
// found faulty, or is a member's, and has nothing to show for it.
func TestAttackFaultyPieceKeyWithoutItsEvidence(t *testing.T) {
	w := consortium.New(t, func(g *record.Genesis) { g.Network = testNetwork })
	g := w.Genesis
	c := he.Context{Network: testNetwork}
	post := func(by, round int, spoil bool) record.PostedKey {
		other := 3 - by // of piece 0, which hospital A lacks
		k, err := he.SealPieceKey(c, 0, round, he.NewPieceKey(), g.Members[by].MSP, g.Members[other:other+1])
		if err != nil {
			t.Fatal(err)
		}
		if spoil {
			k.Check = record.RandomID()
		}
		msp := g.Members[by].MSP
		return record.PostedKey{By: msp, Key: k, Signature: consortium.Sign(w.Keys[msp], k.Digest(testNetwork))}
	}
	bad, next := post(1, 0, true), post(2, 1, false)
	proof, err := he.ComplainPieceKey(c, bad.Key, consortium.HospitalB, g.Members[2], w.Boxes[consortium.Association].Piece)
	if err != nil {
		t.Fatal(err)
	}
	honest := record.PieceKeyState{Posted: &next, Faulty: []record.FaultyKey{
		{Posted: bad, Holder: consortium.Association, Reason: "the secret in the box does not match its hash", Proof: proof},
	}}
	for name, x := range map[string]struct {
		forge func(*record.PieceKeyState)
		words string
	}{
		"an honest record": {func(*record.PieceKeyState) {}, ""},
		"no evidence":      {func(s *record.PieceKeyState) { s.Faulty[0].Proof = nil }, "proof"},
		"another reason":   {func(s *record.PieceKeyState) { s.Faulty[0].Reason = "late" }, "the ledger"},
		"a sound key":      {func(s *record.PieceKeyState) { s.Faulty[0].Posted = post(1, 0, false) }, "proof"},
		"another maker":    {func(s *record.PieceKeyState) { p := *s.Posted; p.By = consortium.HospitalB; s.Posted = &p }, "not another holder"},
		"another key":      {func(s *record.PieceKeyState) { p := *s.Posted; p.Key.Check[0] ^= 1; s.Posted = &p }, "signature"},
		"another round":    {func(s *record.PieceKeyState) { s.Faulty = nil }, "another"},
	} {
		t.Run(name, func(t *testing.T) {
			ch := newChecker(record.Descriptor{Genesis: g})
			s := honest
			s.Faulty = append([]record.FaultyKey(nil), honest.Faulty...)
			x.forge(&s)
			h := &history{T: t}
			h.put(state.PieceKeyKey(0, 0), s)
			if err := ch.take(&network.Block{Txs: []network.Tx{{Valid: true, Writes: h.writes}}}); err != nil {
				t.Fatal(err)
			}
			ch.keysOfPieces(t.Context())
			got := strings.Join(ch.failures, "; ")
			if (got == "") != (x.words == "") || !strings.Contains(got, x.words) {
				t.Errorf("found %q, want %q", got, x.words)
			}
		})
	}
}
