package verify

import (
	"crypto/ecdsa"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// TestAttackFaultyPieceKeyWithoutItsEvidence: a ledger says that a member's key was
// found faulty, or is a member's, and has nothing to show for it.
func TestAttackFaultyPieceKeyWithoutItsEvidence(t *testing.T) {
	g := record.Genesis{Network: testNetwork, Threshold: 2}
	var boxes []*he.MemberKeys
	var signing []*ecdsa.PrivateKey
	for _, msp := range []string{"A", "B", "C"} {
		k, err := he.NewMemberKeys()
		if err != nil {
			t.Fatal(err)
		}
		boxes, signing = append(boxes, k), append(signing, newKey(t))
		g.Members = append(g.Members, k.Enter(record.Member{MSP: msp, SignKey: public(signing[len(signing)-1])}))
	}
	c := he.Context{Network: testNetwork}
	post := func(by, round int, spoil bool) record.PostedKey {
		other := 3 - by // of piece 0, which A lacks
		k, err := he.SealPieceKey(c, 0, round, he.NewPieceKey(), g.Members[by].MSP, g.Members[other:other+1])
		if err != nil {
			t.Fatal(err)
		}
		if spoil {
			k.Check = record.RandomID()
		}
		sig, err := record.Sign(signing[by], k.Digest(testNetwork))
		if err != nil {
			t.Fatal(err)
		}
		return record.PostedKey{By: g.Members[by].MSP, Key: k, Signature: sig}
	}
	bad, next := post(1, 0, true), post(2, 1, false)
	proof, err := he.ComplainPieceKey(c, bad.Key, "B", g.Members[2], boxes[2].Piece)
	if err != nil {
		t.Fatal(err)
	}
	honest := record.PieceKeyState{Posted: &next, Faulty: []record.FaultyKey{
		{Posted: bad, Holder: "C", Reason: "the secret in the box does not match its hash", Proof: proof},
	}}
	for name, x := range map[string]struct {
		forge func(*record.PieceKeyState)
		words string
	}{
		"an honest record": {func(*record.PieceKeyState) {}, ""},
		"no evidence":      {func(s *record.PieceKeyState) { s.Faulty[0].Proof = nil }, "proof"},
		"another reason":   {func(s *record.PieceKeyState) { s.Faulty[0].Reason = "late" }, "the ledger"},
		"a sound key":      {func(s *record.PieceKeyState) { s.Faulty[0].Posted = post(1, 0, false) }, "proof"},
		"another maker":    {func(s *record.PieceKeyState) { p := *s.Posted; p.By = "B"; s.Posted = &p }, "not another holder"},
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
