package chaincode

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"unicode/utf8"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/fault"
)

// maxMessage bounds what an error says when it leaves the chaincode, in bytes.
const maxMessage = 4 << 10

// Contracts are the contracts behind one border: what comes in is text, and so is
// what goes out. A peer cannot pass on a response whose message is not UTF-8, nor
// read a key that is not; it would let the caller wait, and the shim would end the
// process. The same holds for a panic: whoever can cause one would stop the
// contracts at every endorser.
type Contracts struct {
	contracts *contractapi.ContractChaincode
	keys      details.Source // of patients' details; nil: none
}

var _ shim.Chaincode = (*Contracts)(nil)

// Init implements shim.Chaincode; nothing is to be initialized.
func (c *Contracts) Init(stub shim.ChaincodeStubInterface) *peer.Response {
	return guard(stub, c.contracts.Init)
}

// Invoke implements shim.Chaincode.
func (c *Contracts) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	return guard(keyed{stub, c.keys}, c.contracts.Invoke)
}

func guard(stub shim.ChaincodeStubInterface, run func(shim.ChaincodeStubInterface) *peer.Response) *peer.Response {
	for i, arg := range stub.GetArgs() {
		if !utf8.Valid(arg) {
			return shim.Error(fault.New(fault.Invalid, "argument %d of the call is not UTF-8 text", i).Error())
		}
	}
	r := recovered(stub, run)
	r.Message = fault.Clip(r.Message, maxMessage)
	return r
}

// recovered turns a panic into an error that is the same at every endorser.
func recovered(stub shim.ChaincodeStubInterface, run func(shim.ChaincodeStubInterface) *peer.Response) *peer.Response {
	var r *peer.Response
	func() {
		defer func() {
			if p := recover(); p != nil {
				slog.Error("a contract panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				r = shim.Error(fault.New(fault.Internal, "the contract failed; see the chaincode's log").Error())
			}
		}()
		r = run(stub)
	}()
	return r
}
