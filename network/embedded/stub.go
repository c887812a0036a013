package embedded

import (
	"errors"
	"maps"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// stub is the shim's view of a simulation: what Fabric's own stub does over a
// connection to the peer, it does over the snapshot.
type stub struct{ *simulation }

var _ shim.ChaincodeStubInterface = stub{}

func (s stub) GetArgs() [][]byte { return s.call.args }

func (s stub) GetStringArgs() []string {
	out := make([]string, 0, len(s.call.args))
	for _, a := range s.call.args {
		out = append(out, string(a))
	}
	return out
}

func (s stub) GetFunctionAndParameters() (string, []string) {
	args := s.GetStringArgs()
	if len(args) == 0 {
		return "", []string{}
	}
	return args[0], args[1:]
}

func (s stub) GetArgsSlice() ([]byte, error) {
	out := []byte{}
	for _, a := range s.call.args {
		out = append(out, a...)
	}
	return out, nil
}

func (s stub) GetTxID() string { return s.call.txID() }

func (s stub) GetChannelID() string { return s.channel }

func (s stub) GetCreator() ([]byte, error) { return s.call.creator, nil }

func (s stub) GetTransient() (map[string][]byte, error) {
	return maps.Clone(s.call.transient), nil
}

func (s stub) GetBinding() ([]byte, error) { return s.call.binding(), nil }

func (s stub) GetDecorations() map[string][]byte { return map[string][]byte{} }

func (s stub) GetSignedProposal() (*peer.SignedProposal, error) { return s.signed, nil }

func (s stub) GetTxTimestamp() (*timestamppb.Timestamp, error) { return s.call.timestamp, nil }

func (s stub) InvokeChaincode(string, [][]byte, string) *peer.Response {
	return shim.Error("the embedded ledger runs one chaincode: it cannot call another")
}

func (s stub) SetEvent(name string, payload []byte) error {
	_, err := during(s.simulation, func() (any, error) {
		if err := checkName("event name", name); err != nil {
			return nil, err
		}
		s.event = &event{Name: name, Payload: payload}
		return nil, nil
	})
	return err
}

func (s stub) CreateCompositeKey(objectType string, attributes []string) (string, error) {
	return shim.CreateCompositeKey(objectType, attributes)
}

func (s stub) SplitCompositeKey(key string) (string, []string, error) {
	var parts []string
	start := 1
	for i := 1; i < len(key); i++ {
		if key[i] == 0 {
			parts = append(parts, key[start:i])
			start = i + 1
		}
	}
	if len(parts) == 0 {
		return "", nil, errors.New("not a composite key")
	}
	return parts[0], parts[1:], nil
}

var errEndorsement = errors.New("the embedded ledger has one endorser and no key-level endorsement policies")

func (s stub) SetStateValidationParameter(string, []byte) error { return errEndorsement }

func (s stub) GetStateValidationParameter(string) ([]byte, error) { return nil, errEndorsement }

func (s stub) SetPrivateDataValidationParameter(string, string, []byte) error { return errEndorsement }

func (s stub) GetPrivateDataValidationParameter(string, string) ([]byte, error) {
	return nil, errEndorsement
}

var errRichQuery = errors.New("the embedded ledger has no rich queries; use keys and ranges")

func (s stub) GetQueryResult(string) (shim.StateQueryIteratorInterface, error) {
	return nil, errRichQuery
}

func (s stub) GetQueryResultWithPagination(string, int32, string) (shim.StateQueryIteratorInterface, *peer.QueryResponseMetadata, error) {
	return nil, nil, errRichQuery
}

func (s stub) GetPrivateDataQueryResult(string, string) (shim.StateQueryIteratorInterface, error) {
	return nil, errRichQuery
}
