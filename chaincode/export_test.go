package chaincode

import (
	"strings"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"github.com/vitalveil/vitalveil/chaincode/state"
)

// KindNext is a kind that no released layout has.
const KindNext state.Kind = "next"

// NextLayout makes this program one that knows the layout after the current one,
// in which what was recorded of persons is under KindNext, with the old value
// beside the number of the layout. A transaction moves step entries. It returns
// what makes the program the present one again.
func NextLayout(step int) (restore func()) {
	before := known
	known = layouts{current: state.LayoutVersion + 1, step: step, migrations: map[uint32]migration{
		state.LayoutVersion: {kinds: []state.Kind{state.KindPerson}, moves: map[state.Kind]move{
			state.KindPerson: func(c *call, attrs []string, raw []byte) error {
				return c.put("\x00"+string(KindNext)+"\x00"+strings.Join(attrs, "\x00")+"\x00", string(raw))
			},
		}},
	}}
	return func() { known = before }
}

// Guarded runs any chaincode behind the border that the contracts have.
type Guarded func(shim.ChaincodeStubInterface) *peer.Response

// Init implements shim.Chaincode.
func (g Guarded) Init(stub shim.ChaincodeStubInterface) *peer.Response { return guard(stub, g) }

// Invoke implements shim.Chaincode.
func (g Guarded) Invoke(stub shim.ChaincodeStubInterface) *peer.Response { return guard(stub, g) }
