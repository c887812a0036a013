package chaos

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// A consent and a (device, window) are registers of the same kind: a write says
// what it follows and takes effect only there. A consent's version follows the
// previous one; a pointer follows nothing, so a window is written once.

// request is one call on a register.
type request struct {
	key      string // of the register
	read     bool
	from, to string // a write: the value that it follows, the new one
}

// outcome says how a call ended.
type outcome int

const (
	written  outcome = iota // the register holds the new value: by this call or, for consents, an equal one
	repeated                // it held the new value before
	refused                 // it holds another one
	answered                // a read
	unknown                 // no answer came: it may take effect at any time, or never
)

// reply is what a call returned.
type reply struct {
	outcome outcome
	value   string // of a read; empty: nothing written yet
}

// registers is the specification that histories are checked against.
var registers = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, op := range all {
			key := op.Input.(request).key
			byKey[key] = append(byKey[key], op)
		}
		var parts [][]porcupine.Operation
		for _, ops := range byKey {
			parts = append(parts, ops)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(string), input.(request), output.(reply)
		follows := s == in.from
		switch out.outcome {
		case answered:
			return s == out.value, s
		case written:
			return follows || s == in.to, in.to
		case repeated:
			return s == in.to, s
		case refused:
			return !follows && s != in.to, s
		}
		if !in.read && follows {
			return true, in.to
		}
		return true, s
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %+v", input, output) },
}

// history records calls as they happen.
type history struct {
	mu    sync.Mutex
	begun time.Time
	ops   []porcupine.Operation
	count map[outcome]int
}

func newHistory() *history { return &history{begun: time.Now(), count: map[outcome]int{}} }

// now is the time in a history.
func (h *history) now() int64 { return int64(time.Since(h.begun)) }

// add records a call that began at a time, before anything of it was sent, and
// has just ended. One without an answer may take effect later, so it does not end.
func (h *history) add(client int, in request, begin int64, out reply) {
	end := h.now()
	if out.outcome == unknown {
		end = math.MaxInt64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count[out.outcome]++
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Call: begin, Output: out, Return: end})
}

// linearizable says whether one order explains the history.
func linearizable(ops []porcupine.Operation) bool {
	return porcupine.CheckOperationsTimeout(registers, ops, time.Minute) == porcupine.Ok
}
