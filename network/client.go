package network

import (
	"context"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Call names a chaincode function and its arguments.
type Call struct {
	Function string // Contract:Method
	Args     []string
	// Transient reaches the chaincode and never the chain: private values and
	// the keys that open them travel here.
	Transient map[string][]byte
}

// Bounds of a call, the same on every ledger.
const (
	// MaxArguments bounds function name, arguments and transient data together,
	// in bytes.
	MaxArguments = 4 << 20
	// MaxArgCount bounds their number.
	MaxArgCount = 1 << 12
)

// Check bounds a call before anything is built from it.
func (c Call) Check() error {
	if c.Function == "" {
		return fault.New(fault.Invalid, "the call names no function")
	}
	if len(c.Args) > MaxArgCount || len(c.Transient) > MaxArgCount {
		return fault.New(fault.TooLarge, "a call has at most %d arguments and as many transient values", MaxArgCount)
	}
	size := len(c.Function)
	for _, a := range c.Args {
		size += len(a)
	}
	for k, v := range c.Transient {
		size += len(k) + len(v)
	}
	if size > MaxArguments {
		return fault.New(fault.TooLarge, "the arguments have %d bytes, the limit is %d; split the call", size, MaxArguments)
	}
	return nil
}

// Result is a committed, valid transaction.
type Result struct {
	TxID    string
	Block   uint64
	Index   int
	Payload []byte
}

// Block is a committed block. Number 0 is the genesis block.
type Block struct {
	Number   uint64
	Hash     record.ID
	Previous record.ID
	Txs      []Tx
}

// Tx is one transaction of a block. An invalid one changed nothing: its Writes,
// Private and Event are empty whatever the chaincode wanted.
type Tx struct {
	ID       string
	Index    int
	Valid    bool
	Code     string // Fabric's validation code, "VALID" or why not
	Time     int64  // Unix seconds; the client's choice, so it decides nothing
	Creator  Creator
	Function string
	Args     []string
	Writes   []Write        // in key order
	Private  []PrivateWrite // in (collection, key hash) order
	Event    Event          // Name is empty where there is none
}

// Creator is who signed a transaction, checked against the MSP's root.
type Creator struct {
	MSP         string
	Certificate []byte // PEM
}

// Write is one change of public state.
type Write struct {
	Key    string
	Value  []byte
	Delete bool
}

// PrivateWrite is one change of a private data collection. The hashes are on
// the chain; Key and Value are there only while Available, and have then been
// checked against the hashes. A value is not available once a later
// transaction has purged the key, or when this node never got it.
type PrivateWrite struct {
	Collection string
	KeyHash    record.ID
	ValueHash  record.ID // zero for a deletion
	Delete     bool      // true for a purge as well
	Purge      bool
	Available  bool
	Key        string
	Value      []byte
}

// Event is what chaincode announces with a transaction.
type Event struct {
	Name    string
	Payload []byte
}

// Client is one identity's access to a ledger. All methods may be called by
// many goroutines at once.
type Client interface {
	// Submit returns once the transaction is committed and valid. Chaincode
	// errors are *fault.Error as the chaincode made them; a transaction that
	// lost a race is fault.Contention and changed nothing. When ctx ends first
	// the outcome is unknown: the error is fault.Unavailable and the Result
	// still carries the transaction id.
	Submit(ctx context.Context, call Call) (Result, error)
	// Evaluate runs call against one consistent state and records nothing.
	Evaluate(ctx context.Context, call Call) ([]byte, error)
	// Blocks yields the committed blocks from number from on and then new ones
	// as they come, until ctx ends (without an error) or something fails (with
	// one, as the last pair).
	Blocks(ctx context.Context, from uint64) iter.Seq2[*Block, error]
}

// Retry bounds: the waits are uniform in [0, d) with d doubling from retryFirst
// to retryMost, so that rivals for one key spread out (about 15 s in all, as Fabric takes a
// second where an embedded ledger takes milliseconds).
const (
	retryAttempts = 40
	retryFirst    = 4 * time.Millisecond
	retryMost     = time.Second
)

// SubmitRetry submits call, again after a random wait where it lost a race for
// a key (fault.Contention), at most 40 times. Every attempt is a transaction of
// its own. Any other error, and the last Contention, is the caller's.
func SubmitRetry(ctx context.Context, c Client, call Call) (Result, error) {
	wait := retryFirst
	for attempt := 1; ; attempt++ {
		res, err := c.Submit(ctx, call)
		if err == nil || fault.Of(err) != fault.Contention || attempt == retryAttempts {
			return res, err
		}
		if err := Sleep(ctx, rand.N(wait)); err != nil {
			return res, fault.New(fault.Contention, "gave up after %d attempts: %w", attempt, err)
		}
		wait = min(2*wait, retryMost)
	}
}

// Sleep waits for d, or until ctx ends, which is then the error.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
