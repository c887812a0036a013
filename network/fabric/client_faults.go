package fabric

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vitalveil/vitalveil/internal/fault"
)

// What Fabric's gateway says that has no code of its own.
const (
	chaincodeMark = "chaincode response " // begins what the chaincode said, after the status and ", "
	evaluateMark  = "evaluate call to endorser returned error: "
	failedMark    = "error in simulation: transaction returned with failure: " // begins what the shim said in the chaincode's place
	firstRefused  = "failed to endorse transaction"                            // by the gateway's own organisation
	mismatchMark  = "ProposalResponsePayloads do not match"                    // endorsers saw different states
	accessMark    = "access denied"
	duplicateMark = "duplicate transaction found"
	datedMark     = "incorrect timestamp"      // against the peer's own clock
	expiredMark   = "client identity expired"  // by the peer's clock
	othersFailed  = "failed to collect enough" // endorsements, beyond the first one
	noOrderer     = "no orderer"
	notJoined     = "channel does not exist" // an orderer that lost its disk; others have it
	ordererMark   = "received unsuccessful response from orderer: status="
)

// maxDetail bounds what is kept of a peer's words, in bytes.
const maxDetail = 4 << 10

// disagreement says that endorsers did not come to the same result, which peers
// at different heights do. Nothing was submitted; once they have caught up the
// same proposal may pass. The cause is what the caller gets if it does not.
type disagreement struct{ err error }

func (d *disagreement) Error() string { return d.err.Error() }
func (d *disagreement) Unwrap() error { return d.err }

// answer is what a peer said instead of serving a call.
type answer struct {
	code    codes.Code
	message string
	details []detail
}

// detail is what one of the endorsers said.
type detail struct{ msp, text string }

func readAnswer(err error) answer {
	var s interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &s) {
		st := status.FromContextError(err)
		return answer{code: st.Code(), message: clip(st.Message())}
	}
	st := s.GRPCStatus()
	a := answer{code: st.Code(), message: clip(st.Message())}
	for _, d := range st.Details() {
		if e, ok := d.(*gateway.ErrorDetail); ok {
			a.details = append(a.details, detail{clip(e.GetMspId()), clip(e.GetMessage())})
		}
	}
	return a
}

func clip(s string) string { return fault.Clip(s, maxDetail) }

// String returns all that was said.
func (a answer) String() string {
	all := []string{a.code.String() + ": " + a.message}
	for _, d := range a.details {
		all = append(all, d.msp+": "+d.text)
	}
	return strings.Join(all, "; ")
}

// texts returns what was said, the message first.
func (a answer) texts() []string {
	all := []string{a.message}
	for _, d := range a.details {
		all = append(all, d.text)
	}
	return all
}

// byChaincode returns what the chaincode said in a text, if the text is the
// chaincode's. Fabric puts its mark first, and whatever comes after it, also the
// words of Fabric itself, may be quoted from a stranger's document.
func byChaincode(text string) (string, bool) {
	said, ok := strings.CutPrefix(strings.TrimPrefix(text, evaluateMark), chaincodeMark)
	if !ok {
		return "", false
	}
	_, said, _ = strings.Cut(said, ", ")
	return said, true
}

// saying returns the first thing said with the mark in it that is not the
// chaincode's.
func (a answer) saying(mark string) (string, bool) {
	for _, s := range a.texts() {
		if _, ok := byChaincode(s); !ok && strings.Contains(s, mark) {
			return s, true
		}
	}
	return "", false
}

// lostPeer is what the shim says when the stream between it and its own peer has ended,
// as when either is killed: another peer may answer.
var lostPeer = regexp.MustCompile(`^\[[0-9a-f]{8}\] ?error sending `)

// chaincodeFault returns what the chaincode said, if it was the chaincode, or that
// it ran and could not say anything. Either way it is so at every peer.
func (a answer) chaincodeFault() *fault.Error {
	for _, s := range a.texts() {
		if said, ok := byChaincode(s); ok {
			return fault.Parse(said)
		}
		if said, ok := strings.CutPrefix(strings.TrimPrefix(s, evaluateMark), failedMark); ok && !lostPeer.MatchString(said) {
			return fault.New(fault.Internal, "the chaincode's answer cannot be passed on, at any peer: %s", said)
		}
	}
	return nil
}

// expired says that a peer holds this client's certificate for ended.
func (a answer) expired() error {
	if _, ok := a.saying(expiredMark); ok {
		return fault.New(fault.Unavailable, "%w by a peer's clock: renew it, or set the clock that is wrong: %s", ErrCertificate, a)
	}
	return nil
}

// refusal returns why the peer will not serve this call whoever is asked, or nil.
func (a answer) refusal() error {
	if err := a.expired(); err != nil {
		return err
	}
	if _, ok := a.saying(accessMark); ok || a.code == codes.PermissionDenied {
		return fault.New(fault.Forbidden, "the channel's policy does not allow it: %s", a)
	}
	if _, ok := a.saying(datedMark); ok {
		return fault.New(fault.Expired, "a peer's clock and this machine's are too far apart: set the clock that is wrong, then submit again: %s", a)
	}
	if _, ok := a.saying(duplicateMark); ok {
		return fault.New(fault.Conflict, "the transaction is on the ledger already: %s", a)
	}
	if a.code == codes.ResourceExhausted && strings.Contains(a.message, "larger than max") {
		return fault.New(fault.TooLarge, "%s", a)
	}
	if a.code == codes.InvalidArgument {
		return fault.New(fault.Invalid, "%s", a)
	}
	return nil
}

func (a answer) elsewhere() error {
	return &elsewhere{err: fault.New(fault.Unavailable, "%s", a), innocent: a.innocent()}
}

// innocent says whether it is not the peer that fails, but what it depends on.
func (a answer) innocent() bool {
	for _, mark := range []string{othersFailed, noOrderer, notJoined} {
		if strings.Contains(a.message, mark) {
			return true
		}
	}
	return false
}

// evaluationError turns the error of an evaluation into a fault or an elsewhere.
func evaluationError(err error) error {
	if err == nil {
		return nil
	}
	a := readAnswer(err)
	if f := a.chaincodeFault(); f != nil {
		return f
	}
	if err := a.refusal(); err != nil {
		return err
	}
	return a.elsewhere()
}

// endorsementError does so for an endorsement, or says that the endorsers
// disagree: the first one, of the peer's own organisation, endorsed and another
// refused or came to another result.
func endorsementError(err error) error {
	if err == nil {
		return nil
	}
	a := readAnswer(err)
	if f := a.chaincodeFault(); f != nil {
		if strings.Contains(a.message, firstRefused) {
			return f
		}
		return &disagreement{f}
	}
	if _, ok := a.saying(mismatchMark); ok {
		return &disagreement{fault.New(fault.Contention, "peers are at different blocks: %s", a)}
	}
	if err := a.refusal(); err != nil {
		return err
	}
	return a.elsewhere()
}

// orderingRefusal returns the fault of a transaction that an orderer refused for
// what it is, or nil when it may have got through or may get through later.
func orderingRefusal(err error) error {
	a := readAnswer(err)
	s, ok := a.saying(ordererMark)
	if !ok || a.code != codes.Aborted {
		return a.refusal()
	}
	if err := a.expired(); err != nil {
		return err
	}
	if strings.Contains(s, notJoined) {
		return nil
	}
	switch {
	case strings.Contains(s, ordererMark+common.Status_FORBIDDEN.String()):
		return fault.New(fault.Forbidden, "%s", a)
	case strings.Contains(s, ordererMark+common.Status_REQUEST_ENTITY_TOO_LARGE.String()),
		strings.Contains(s, "exceeds maximum"), strings.Contains(s, "larger than"):
		return fault.New(fault.TooLarge, "%s", a)
	default:
		return fault.New(fault.Invalid, "%s", a)
	}
}

// validationFaults are the codes of transactions that were ordered and then
// found invalid: none of them changed anything.
var validationFaults = map[peer.TxValidationCode]fault.Code{
	peer.TxValidationCode_MVCC_READ_CONFLICT:    fault.Contention,
	peer.TxValidationCode_PHANTOM_READ_CONFLICT: fault.Contention,
	// The chaincode's definition changed between endorsement and commit.
	peer.TxValidationCode_EXPIRED_CHAINCODE:          fault.Contention,
	peer.TxValidationCode_CHAINCODE_VERSION_CONFLICT: fault.Contention,
	peer.TxValidationCode_DUPLICATE_TXID:             fault.Conflict,
	peer.TxValidationCode_BAD_CREATOR_SIGNATURE:      fault.BadSignature,
	peer.TxValidationCode_ENDORSEMENT_POLICY_FAILURE: fault.Forbidden,
	peer.TxValidationCode_INVALID_CHAINCODE:          fault.Forbidden,
	peer.TxValidationCode_ILLEGAL_WRITESET:           fault.Forbidden,
}

// validationFault returns the error of a transaction that was committed as
// invalid.
func validationFault(id string, code peer.TxValidationCode) error {
	f, ok := validationFaults[code]
	if !ok {
		f = fault.Internal
	}
	return fault.New(f, "transaction %s changed nothing (%s)", id, code)
}

// ended says whether a context's end, not a peer, made an attempt fail.
func ended(err error) bool {
	c := readAnswer(err).code
	return c == codes.DeadlineExceeded || c == codes.Canceled ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
