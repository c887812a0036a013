package chaincode_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// argued is a stub of which only the arguments are asked for.
type argued struct {
	shim.ChaincodeStubInterface
	args [][]byte
}

func (a argued) GetArgs() [][]byte { return a.args }

// Whatever a contract says or does, what leaves is a response that a peer can pass on.
func TestEveryResponseCanLeaveTheChaincode(t *testing.T) {
	for name, said := range map[string]string{
		"half a character": "FORBIDDEN: \xe2\x82",
		"bytes":            "\xff\xfe\xfd",
		"a great deal":     "INVALID: " + strings.Repeat("€", 1<<20),
	} {
		says := chaincode.Guarded(func(shim.ChaincodeStubInterface) *peer.Response { return shim.Error(said) })
		r := says.Invoke(argued{})
		if _, err := proto.Marshal(r); err != nil || len(r.Message) > 5<<10 || r.Status != shim.ERROR {
			t.Errorf("%s: %d bytes with status %d, %v", name, len(r.Message), r.Status, err)
		}
		if code, want := fault.Parse(r.Message).Code, fault.Parse(said).Code; code != want {
			t.Errorf("%s: %s became %s", name, want, code)
		}
	}
}

// A call that a contract fails on ends the call, not the process that serves everybody.
func TestAttackAContractIsMadeToPanic(t *testing.T) {
	var none map[string]int
	fails := chaincode.Guarded(func(shim.ChaincodeStubInterface) *peer.Response { none["x"] = 1; return nil })
	if r := fails.Invoke(argued{}); fault.Parse(r.GetMessage()).Code != fault.Internal || r.Status != shim.ERROR {
		t.Errorf("answered %v", r)
	}
}

// Arguments end up in keys, and Fabric's shim ends the process on a key that is
// not text.
func TestAttackArgumentThatIsNotText(t *testing.T) {
	runs := false
	any := chaincode.Guarded(func(shim.ChaincodeStubInterface) *peer.Response { runs = true; return shim.Success(nil) })
	r := any.Invoke(argued{args: [][]byte{[]byte(contracts.QueryGet), {0xff, 0xfe}}})
	if runs || fault.Parse(r.GetMessage()).Code != fault.Invalid {
		t.Errorf("ran: %v, answered %v", runs, r)
	}
	w := newWorld(t)
	_, err := w.Clients[hospitalA].Evaluate(t.Context(), network.Call{Function: contracts.QueryGet.Name(), Args: []string{"\xff\xfe"}})
	if fault.Of(err) != fault.Invalid {
		t.Errorf("the ledger answers %v", err)
	}
}

// A name is cut between two characters, so that the refusal reaches who is refused.
func TestAttackNameThatIsCutWithinACharacter(t *testing.T) {
	w := newWorld(t)
	for pad := range 4 {
		name := strings.Repeat("x", pad) + strings.Repeat("\U0001F493", 100)
		post := record.Available{Posts: []record.SignedAvailable{{Member: name}}}
		_, err := w.Submit(hospitalA, contracts.PointerAvailable, post, nil)
		if fault.Of(err) != fault.Forbidden || !utf8.ValidString(err.Error()) {
			t.Errorf("%d bytes before it: %v", pad, err)
		}
	}
}
