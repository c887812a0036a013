package chaincode

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
	"github.com/hyperledger/fabric-contract-api-go/v2/metadata"

	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/fault"
)

// Registry holds the network's policy, patients and devices.
type Registry struct{ contractapi.Contract }

// Clock holds ledger time.
type Clock struct{ contractapi.Contract }

// Consent holds patients' consents.
type Consent struct{ contractapi.Contract }

// Pointer holds where sealed rows and committed days are.
type Pointer struct{ contractapi.Contract }

// Study holds institutions' registered questions.
type Study struct{ contractapi.Contract }

// Query holds statistics queries from asking to release.
type Query struct{ contractapi.Contract }

// Predicate holds questions about one patient and their attestations.
type Predicate struct{ contractapi.Contract }

// transaction is what contract methods get from the contract API.
type transaction = contractapi.TransactionContextInterface

// New makes the chaincode. It keeps no state of its own beyond caches of parsed
// documents, and may serve any number of transactions at once. Keys come from the
// vault of the member that runs it; without them (nil) nothing private can be
// written or read.
func New(keys details.Source) (*Contracts, error) {
	api := func(name string) contractapi.Contract {
		return contractapi.Contract{Name: name, UnknownTransaction: unknown}
	}
	cc, err := contractapi.NewChaincode(
		&Registry{api("Registry")}, &Clock{api("Clock")}, &Consent{api("Consent")}, &Pointer{api("Pointer")},
		&Study{api("Study")}, &Query{api("Query")}, &Predicate{api("Predicate")},
	)
	if err != nil {
		return nil, fmt.Errorf("chaincode: %w", err)
	}
	cc.Info.Title, cc.Info.Version = "vitalveil", "1"
	cc.TransactionSerializer = text{}
	return &Contracts{cc, keys}, nil
}

func unknown(transaction) error {
	return fault.New(fault.Invalid, "the contract has no such method")
}

// text hands arguments and results through as they are: methods take and return
// JSON and check it themselves, more strictly than a schema of "string" would.
type text struct{}

// FromString implements the contract API's serializer.
func (text) FromString(arg string, t reflect.Type, _ *metadata.ParameterMetadata, _ *metadata.ComponentMetadata) (reflect.Value, error) {
	if t.Kind() != reflect.String {
		return reflect.Value{}, errors.New("contract methods take text")
	}
	return reflect.ValueOf(arg), nil
}

// ToString implements the contract API's serializer.
func (text) ToString(v reflect.Value, _ reflect.Type, _ *metadata.ReturnMetadata, _ *metadata.ComponentMetadata) (string, error) {
	if v.Kind() != reflect.String {
		return "", nil // nothing but an error was returned
	}
	return v.String(), nil
}

// GetEvaluateTransactions names the methods that only read.
func (*Registry) GetEvaluateTransactions() []string {
	return []string{"GetGenesis", "GetLayout", "GetPatient", "GetDevice", "GetPieceKey", "GetErasure", "GetRoster", "GetEpoch"}
}

// GetEvaluateTransactions names the methods that only read.
func (*Clock) GetEvaluateTransactions() []string { return []string{"Now"} }

// GetEvaluateTransactions names the methods that only read.
func (*Consent) GetEvaluateTransactions() []string { return []string{"Get", "OfPatient"} }

// GetEvaluateTransactions names the methods that only read.
func (*Pointer) GetEvaluateTransactions() []string { return []string{"Get", "GetBatch"} }

// GetEvaluateTransactions names the methods that only read.
func (*Study) GetEvaluateTransactions() []string { return []string{"Get"} }

// GetEvaluateTransactions names the methods that only read.
func (*Query) GetEvaluateTransactions() []string { return []string{"Get"} }

// GetEvaluateTransactions names the methods that only read.
func (*Predicate) GetEvaluateTransactions() []string { return []string{"Get", "Pending", "OfPatient"} }
