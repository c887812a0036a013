package conformance

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/hyperledger/fabric-chaincode-go/v2/pkg/cid"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"github.com/vitalveil/vitalveil/internal/fault"
)

// Chaincode is the test chaincode: each function does one thing to the stub, so
// that a test can see what the ledger makes of it.
type Chaincode struct{}

var _ shim.Chaincode = Chaincode{}

// Init does nothing.
func (Chaincode) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

// Invoke runs the function that the first argument names.
func (Chaincode) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	name, args := stub.GetFunctionAndParameters()
	switch {
	case name == "slowly" && len(args) >= 2:
		return slowly(stub, args)
	case name == "status" && len(args) == 2:
		return status(args)
	default:
		return call(stub, name, args)
	}
}

func call(stub shim.ChaincodeStubInterface, name string, args []string) *peer.Response {
	f, ok := functions[name]
	if !ok {
		f, ok = edgeFunctions[name]
	}
	if !ok {
		return shim.Error(fault.New(fault.NotFound, "no function %q", name).Error())
	}
	if len(args) != f.args && f.args >= 0 {
		return shim.Error(fault.New(fault.Invalid, "%s takes %d arguments", name, f.args).Error())
	}
	out, err := f.run(stub, args)
	if err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(out)
}

type function struct {
	args int // -1: any number
	run  func(stub shim.ChaincodeStubInterface, a []string) ([]byte, error)
}

var functions = map[string]function{
	"put":              {2, put},
	"get":              {1, func(s shim.ChaincodeStubInterface, a []string) ([]byte, error) { return s.GetState(a[0]) }},
	"del":              {1, func(s shim.ChaincodeStubInterface, a []string) ([]byte, error) { return nil, s.DelState(a[0]) }},
	"add":              {2, add},
	"putThenGet":       {2, putThenGet},
	"bulk":             {-1, bulk},
	"range":            {2, rangeAll},
	"first":            {3, firstOf},
	"page":             {4, page},
	"append":           {2, appendNumbered},
	"copyRange":        {2, leakIterator},
	"putComposite":     {-1, putComposite},
	"partialComposite": {-1, partialComposite},
	"history":          {1, history},
	"putPrivate":       {2, putPrivate},
	"getPrivate":       {2, func(s shim.ChaincodeStubInterface, a []string) ([]byte, error) { return s.GetPrivateData(a[0], a[1]) }},
	"hashPrivate": {2, func(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
		return s.GetPrivateDataHash(a[0], a[1])
	}},
	"delPrivate": {2, func(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
		return nil, s.DelPrivateData(a[0], a[1])
	}},
	"purgePrivate": {2, func(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
		return nil, s.PurgePrivateData(a[0], a[1])
	}},
	"addPrivate":          {3, addPrivate},
	"rangePrivate":        {3, rangePrivate},
	"rangePrivateThenPut": {1, rangePrivateThenPut},
	"pageThenPut":         {1, pageThenPut},
	"addAndTell":          {3, addAndTell},
	"tellAndFail":         {1, tellAndFail},
	"whoami":              {0, whoami},
	"context":             {0, txContext},
	"transient":           {1, transient},
	"transientPrivate":    {1, transientPrivate},
	"transientPurge":      {1, transientPurge},
	"fail": {2, func(_ shim.ChaincodeStubInterface, a []string) ([]byte, error) {
		return nil, fault.New(fault.Code(a[0]), "%s", a[1])
	}},
}

func put(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	return nil, s.PutState(a[0], []byte(a[1]))
}

// add adds a number to a counter.
func add(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	old, err := s.GetState(a[0])
	if err != nil {
		return nil, err
	}
	sum, err := addTo(old, a[1])
	if err != nil {
		return nil, err
	}
	return sum, s.PutState(a[0], sum)
}

func addTo(old []byte, by string) ([]byte, error) {
	n, err := strconv.Atoi(by)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%q is not a number", by)
	}
	if old != nil {
		o, err := strconv.Atoi(string(old))
		if err != nil {
			return nil, err
		}
		n += o
	}
	return []byte(strconv.Itoa(n)), nil
}

// putThenGet returns what the key holds after it was written in the same
// transaction.
func putThenGet(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	if err := s.PutState(a[0], []byte(a[1])); err != nil {
		return nil, err
	}
	return s.GetState(a[0])
}

// bulk writes pairs of keys and values: one read and one write each.
func bulk(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	for i := 0; i+1 < len(a); i += 2 {
		if _, err := s.GetState(a[i]); err != nil {
			return nil, err
		}
		if err := s.PutState(a[i], []byte(a[i+1])); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// KV is how the chaincode returns elements of a range.
type KV struct{ Key, Value string }

func collect(it shim.StateQueryIteratorInterface, most int) ([]KV, error) {
	defer it.Close()
	out := []KV{}
	for len(out) != most && it.HasNext() {
		kv, err := it.Next()
		if err != nil {
			return nil, err
		}
		out = append(out, KV{kv.Key, string(kv.Value)})
	}
	return out, nil
}

func collectJSON(it shim.StateQueryIteratorInterface, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	out, err := collect(it, -1)
	if err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

func rangeAll(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	return collectJSON(s.GetStateByRange(a[0], a[1]))
}

// firstOf copies the first value of a range to a key and looks no further.
func firstOf(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	it, err := s.GetStateByRange(a[0], a[1])
	if err != nil {
		return nil, err
	}
	out, err := collect(it, 1)
	if err != nil || len(out) == 0 {
		return nil, err
	}
	return []byte(out[0].Value), s.PutState(a[2], []byte(out[0].Value))
}

// Page is how the chaincode returns a page of a range.
type Page struct {
	Items    []KV
	Bookmark string
	Fetched  int32
}

func page(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	size, err := strconv.ParseInt(a[2], 10, 32)
	if err != nil {
		return nil, err
	}
	it, meta, err := s.GetStateByRangeWithPagination(a[0], a[1], int32(size), a[3])
	if err != nil {
		return nil, err
	}
	items, err := collect(it, -1)
	if err != nil {
		return nil, err
	}
	return json.Marshal(Page{items, meta.Bookmark, meta.FetchedRecordsCount})
}

func pageThenPut(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	it, _, err := s.GetStateByRangeWithPagination("", "", 1, "")
	if err != nil {
		return nil, err
	}
	if err := it.Close(); err != nil {
		return nil, err
	}
	return nil, s.PutState(a[0], []byte("x"))
}

// appendNumbered counts the keys under a prefix and adds the next one. If two
// of them could count the same, one would overwrite the other.
func appendNumbered(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	it, err := s.GetStateByRange(a[0], a[0]+"~")
	if err != nil {
		return nil, err
	}
	have, err := collect(it, -1)
	if err != nil {
		return nil, err
	}
	key := fmt.Sprintf("%s%06d", a[0], len(have))
	return []byte(key), s.PutState(key, []byte(a[1]))
}

// leakIterator leaves its iterators open.
func leakIterator(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	it, err := s.GetStateByRange(a[0], a[1])
	if err != nil {
		return nil, err
	}
	if _, err := s.GetHistoryForKey(a[0]); err != nil {
		return nil, err
	}
	return []byte(strconv.FormatBool(it.HasNext())), nil
}

// putComposite takes a type, attributes and last the value.
func putComposite(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	key, err := s.CreateCompositeKey(a[0], a[1:len(a)-1])
	if err != nil {
		return nil, err
	}
	return []byte(key), s.PutState(key, []byte(a[len(a)-1]))
}

// partialComposite returns the attributes, joined by "/", of what matches.
func partialComposite(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	it, err := s.GetStateByPartialCompositeKey(a[0], a[1:])
	if err != nil {
		return nil, err
	}
	items, err := collect(it, -1)
	if err != nil {
		return nil, err
	}
	for i, kv := range items {
		kind, attributes, err := s.SplitCompositeKey(kv.Key)
		if err != nil {
			return nil, err
		}
		items[i].Key = kind + ":" + strings.Join(attributes, "/")
	}
	return json.Marshal(items)
}

// Change is how the chaincode returns an element of a key's history.
type Change struct {
	TxID    string
	Value   string
	Delete  bool
	Seconds int64
}

func history(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	it, err := s.GetHistoryForKey(a[0])
	if err != nil {
		return nil, err
	}
	defer it.Close()
	out := []Change{}
	for it.HasNext() {
		m, err := it.Next()
		if err != nil {
			return nil, err
		}
		out = append(out, Change{m.TxId, string(m.Value), m.IsDelete, m.Timestamp.GetSeconds()})
	}
	return json.Marshal(out)
}

// putPrivate stores the transient value "value".
func putPrivate(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	t, err := s.GetTransient()
	if err != nil {
		return nil, err
	}
	return nil, s.PutPrivateData(a[0], a[1], t["value"])
}

func addPrivate(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	old, err := s.GetPrivateData(a[0], a[1])
	if err != nil {
		return nil, err
	}
	sum, err := addTo(old, a[2])
	if err != nil {
		return nil, err
	}
	return sum, s.PutPrivateData(a[0], a[1], sum)
}

func rangePrivate(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	return collectJSON(s.GetPrivateDataByRange(a[0], a[1], a[2]))
}

func rangePrivateThenPut(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	it, err := s.GetPrivateDataByRange(a[0], "", "")
	if err != nil {
		return nil, err
	}
	if err := it.Close(); err != nil {
		return nil, err
	}
	return nil, s.PutState("k", []byte("x"))
}

// addAndTell is add with an event.
func addAndTell(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	sum, err := add(s, a[:2])
	if err != nil {
		return nil, err
	}
	return sum, s.SetEvent(a[2], sum)
}

func tellAndFail(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	if err := s.SetEvent(a[0], nil); err != nil {
		return nil, err
	}
	return nil, fault.New(fault.Invalid, "after the event")
}

// whoami returns MSP and common name of the creator.
func whoami(s shim.ChaincodeStubInterface, _ []string) ([]byte, error) {
	id, err := cid.New(s)
	if err != nil {
		return nil, err
	}
	msp, err := id.GetMSPID()
	if err != nil {
		return nil, err
	}
	cert, err := id.GetX509Certificate()
	if err != nil {
		return nil, err
	}
	return []byte(msp + "/" + cert.Subject.CommonName), nil
}

// Context is what the chaincode sees of its transaction.
type Context struct {
	TxID, Channel, Binding string
	Seconds                int64
	Args                   int
}

func txContext(s shim.ChaincodeStubInterface, _ []string) ([]byte, error) {
	at, err := s.GetTxTimestamp()
	if err != nil {
		return nil, err
	}
	binding, err := s.GetBinding()
	if err != nil {
		return nil, err
	}
	return json.Marshal(Context{
		s.GetTxID(), s.GetChannelID(), hex.EncodeToString(binding),
		at.GetSeconds(), len(s.GetArgs()),
	})
}

func transient(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	t, err := s.GetTransient()
	if err != nil {
		return nil, err
	}
	return t[a[0]], nil
}

// transientPrivate is putPrivate with a key that is not on the chain either.
func transientPrivate(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	t, err := s.GetTransient()
	if err != nil {
		return nil, err
	}
	return nil, s.PutPrivateData(a[0], string(t["key"]), t["value"])
}

func transientPurge(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	t, err := s.GetTransient()
	if err != nil {
		return nil, err
	}
	return nil, s.PurgePrivateData(a[0], string(t["key"]))
}
