package chaincode

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/hyperledger/fabric-chaincode-go/v2/pkg/cid"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// role is who may call a method.
type role int

const (
	anyone    role = iota // any identity of the channel
	submitter             // a member, or a gateway for patients and devices
	member                // a member of an epoch that lives
	asker                 // a member that is not the registrar
)

// timing is whether the transaction's timestamp must be near ledger time.
type timing int

const (
	untimed timing = iota
	timed
)

// Limits of arguments in bytes.
const (
	smallArgument = 16 << 10
	largeArgument = 1 << 20
)

// call is one transaction as the methods see it.
type call struct {
	stub    shim.ChaincodeStubInterface
	msp     string // of who submits
	genesis *record.Genesis
	roster  *record.Roster
	ticks   *int64 // ledger time once it was read

	keys         details.Source
	knownOf      record.ID // whose key was asked for
	known        *details.Key
	wrotePrivate bool // one value a transaction
}

// serve runs one method: it admits the caller, reads the argument strictly and
// writes the result. All errors leave as faults.
func serve[A, R any](tx transaction, who role, when timing, arg string, limit int, method func(*call, A) (R, error)) (string, error) {
	var a A
	if err := record.DecodeJSON([]byte(arg), limit, &a); err != nil {
		if len(arg) > limit {
			return "", fault.New(fault.TooLarge, "the argument has %d bytes, at most %d are possible", len(arg), limit)
		}
		return "", fault.New(fault.Invalid, "the argument is not the document expected: %w", err)
	}
	return run(tx, who, when, a, method)
}

// serveText is serve for methods whose argument is an identifier, as a JSON
// string or bare.
func serveText[R any](tx transaction, arg string, method func(*call, string) (R, error)) (string, error) {
	if len(arg) > smallArgument {
		return "", fault.New(fault.TooLarge, "the argument has %d bytes, at most %d are possible", len(arg), smallArgument)
	}
	if strings.HasPrefix(arg, `"`) {
		return serve(tx, submitter, untimed, arg, smallArgument, method)
	}
	return run(tx, submitter, untimed, arg, method)
}

// serveID is serveText for record.ID.
func serveID[R any](tx transaction, arg string, method func(*call, record.ID) (R, error)) (string, error) {
	return serveText(tx, arg, func(c *call, s string) (R, error) {
		id, err := record.ParseID(s)
		if err != nil {
			var none R
			return none, fault.New(fault.Invalid, "%w", err)
		}
		return method(c, id)
	})
}

func run[A, R any](tx transaction, who role, when timing, a A, method func(*call, A) (R, error)) (string, error) {
	c, err := begin(tx, who, when)
	if err != nil {
		return "", asFault(err)
	}
	r, err := method(c, a)
	if err != nil {
		return "", asFault(err)
	}
	out, err := json.Marshal(r)
	if err != nil {
		return "", asFault(err)
	}
	return string(out), nil
}

// asFault keeps faults and marks anything else as internal.
func asFault(err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return f
	}
	return fault.New(fault.Internal, "%w", err)
}

func begin(tx transaction, who role, when timing) (*call, error) {
	c := &call{stub: tx.GetStub()}
	if k, ok := c.stub.(keyed); ok {
		c.keys = k.keys
	}
	c.stub.StartWriteBatch() // writes leave together at the end: one exchange with the peer
	msp, err := cid.GetMSPID(c.stub)
	if err != nil {
		return nil, fault.New(fault.Forbidden, "the caller has no usable identity: %w", err)
	}
	c.msp = msp
	if who == anyone {
		return c, nil
	}
	if err := c.loadGenesis(); err != nil {
		return nil, err
	}
	if err := c.loadRoster(); err != nil {
		return nil, err
	}
	if err := c.admit(who); err != nil {
		return nil, err
	}
	if when == timed {
		return c, c.checkTimestamp()
	}
	return c, nil
}

func (c *call) admit(who role) error {
	isMember := c.member(c.msp) != nil
	switch {
	case who == submitter && (isMember || slices.Contains(c.genesis.Gateways, c.msp)):
		return nil
	case who == submitter:
		return fault.New(fault.Forbidden, "%s is neither a member nor a gateway of this network", clip(c.msp))
	case !isMember:
		return fault.New(fault.Forbidden, "%s is not a member of this network", clip(c.msp))
	case who == asker && c.msp == c.genesis.Registrar:
		return fault.New(fault.Forbidden, "%s vouches for patients and may never ask", c.msp)
	}
	return nil
}

// parsedGenesis remembers the genesis that was parsed last, by its bytes.
type parsedGenesis struct {
	raw     string
	genesis *record.Genesis
}

var lastGenesis atomic.Pointer[parsedGenesis]

// loadGenesis reads the genesis of a network whose state this version knows.
func (c *call) loadGenesis() error {
	if err := c.readGenesis(); err != nil {
		return err
	}
	return c.checkLayout()
}

// readGenesis reads the genesis; callers share it and do not change it.
func (c *call) readGenesis() error {
	raw, err := c.stub.GetState(state.GenesisKey())
	if err != nil {
		return err
	}
	if raw == nil {
		return fault.New(fault.NotFound, "the network has no genesis yet; call Registry:Init first")
	}
	if p := lastGenesis.Load(); p != nil && p.raw == string(raw) {
		c.genesis = p.genesis
		return nil
	}
	p := &parsedGenesis{raw: string(raw), genesis: new(record.Genesis)}
	if err := json.Unmarshal(raw, p.genesis); err != nil {
		return err
	}
	lastGenesis.Store(p)
	c.genesis = p.genesis
	return nil
}

// get reads a document; it reports whether there is one.
func (c *call) get(key string, v any) (bool, error) {
	raw, err := c.stub.GetState(key)
	if err != nil || raw == nil {
		return false, err
	}
	return true, json.Unmarshal(raw, v)
}

// need is get for documents that must be there; what names it for people.
func (c *call) need(key string, v any, what string) error {
	ok, err := c.get(key, v)
	if err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.NotFound, "%s is not on the ledger", what)
	}
	return nil
}

func (c *call) put(key string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.stub.PutState(key, raw)
}

// scan calls each with every entry whose key begins with these attributes, in
// key order, until it has seen most entries.
func (c *call) scan(kind state.Kind, attrs []string, most int, each func(key string, raw []byte) error) error {
	it, err := c.stub.GetStateByPartialCompositeKey(string(kind), attrs)
	if err != nil {
		return err
	}
	defer it.Close()
	for n := 0; it.HasNext() && n < most; n++ {
		kv, err := it.Next()
		if err != nil {
			return err
		}
		if err := each(kv.Key, kv.Value); err != nil {
			return err
		}
	}
	return nil
}
