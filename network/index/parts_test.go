package index

import (
	"errors"
	"fmt"
	"testing"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// The parts stand by themselves: none needs an index or a ledger to keep its rules.

func policyOf(members ...string) *policy {
	e := record.Epoch{Threshold: 2}
	for _, m := range members {
		e.Members = append(e.Members, record.Member{MSP: m})
	}
	return &policy{
		names: names{}, genesis: &record.Genesis{Clock: record.ClockSimulated}, voted: map[string]bool{},
		roster: record.Roster{Epochs: []record.Epoch{e}}, epochs: map[uint32]record.EpochState{0: {Epoch: e}},
	}
}

func TestLedgerTimeIsTheMembersLowerMiddleTick(t *testing.T) {
	cl := &clock{policy: policyOf("a", "b", "c"), ticks: map[string]int64{}}
	for i, c := range []struct {
		member    string
		tick, now int64
	}{{"a", 100, 0}, {"stranger", 900, 0}, {"b", 300, 100}, {"c", 200, 200}, {"a", 1000, 300}} {
		cl.ticks[c.member] = c.tick
		cl.tell()
		cl.note(uint64(i))
		if cl.now != c.now || cl.at(uint64(i)) != c.now {
			t.Errorf("after %s's tick at %d it is %d, and in the block %d: want %d", c.member, c.tick, cl.now, cl.at(uint64(i)), c.now)
		}
	}
	if block, ok := cl.reached(0, 150); !ok || block != 3 {
		t.Errorf("150 was reached in block %d (%v), want 3", block, ok)
	}
	if len(cl.times) != 3 {
		t.Errorf("%d changes of time are noted, want 3", len(cl.times))
	}
}

func TestAVoteCountsOnce(t *testing.T) {
	po := policyOf("a")
	w := write{tx: &network.Tx{ID: "tx"}}
	if err := po.countOnce(w); err != nil {
		t.Fatal(err)
	}
	var u unproven
	if err := po.countOnce(w); !errors.As(err, &u) {
		t.Errorf("got %v", err)
	}
}

func TestAllRefusalsAreCountedAndTheFirstKept(t *testing.T) {
	re := &refusals{}
	for i := range maxRefusals + 10 {
		if err := re.keep(Position{Block: uint64(i)}, "tx", "record", refuse("no %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if re.count != maxRefusals+10 || len(re.list) != maxRefusals || re.list[maxRefusals-1].Reason != fmt.Sprintf("no %d", maxRefusals-1) {
		t.Errorf("%d counted, %d kept", re.count, len(re.list))
	}
	broken := errors.New("this cannot be read")
	if err := re.keep(Position{}, "tx", "record", broken); !errors.Is(err, broken) || re.count != maxRefusals+10 {
		t.Errorf("what cannot be read passes as a refusal (%v)", err)
	}
}
