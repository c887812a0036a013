package fabric

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/vitalveil/vitalveil/internal/fault"
)

// said is an error as Fabric's gateway sends it.
func said(t testing.TB, code codes.Code, message string, details ...string) error {
	t.Helper()
	var ds []protoadapt.MessageV1
	for _, d := range details {
		ds = append(ds, &gateway.ErrorDetail{Address: "peer:1", MspId: "HospitalA", Message: d})
	}
	st, err := status.New(code, message).WithDetails(ds...)
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

const (
	firstSays  = "failed to endorse transaction, see attached details for more info"
	othersSay  = "failed to collect enough transaction endorsements, see attached details for more info"
	evalSays   = "evaluate call to endorser returned error: "
	mspDenies  = "error validating proposal: access denied: channel [vitalveil] creator org [Outsider]"
	clockSays  = "request unauthorized due to incorrect timestamp 2026-01-02T03:04:05Z, peer time 2026-01-02T04:04:05Z, peer.authentication.timewindow config 15m0s"
	orderSays  = "received unsuccessful response from orderer: status=%s, info=%s"
	ccSaysFull = "chaincode response 500, EXHAUSTED: the budget is used up"
)

func TestWhatAnEvaluationSaysBecomesAFault(t *testing.T) {
	for _, c := range []struct {
		err       error
		want      fault.Code
		detail    string
		elsewhere bool
	}{
		{said(t, codes.Unknown, evalSays+ccSaysFull, ccSaysFull), fault.Exhausted, "the budget is used up", false},
		{said(t, codes.Unknown, evalSays+"chaincode response 500, a key must not be empty"), fault.Internal, "a key must not be empty", false},
		{said(t, codes.FailedPrecondition, evalSays+mspDenies), fault.Forbidden, "", false},
		{said(t, codes.Aborted, "failed to evaluate transaction", "make sure the chaincode has been defined"), fault.Unavailable, "", true},
		{said(t, codes.FailedPrecondition, "no peers available to evaluate chaincode vitalveil"), fault.Unavailable, "", true},
		{said(t, codes.Unavailable, "connection refused"), fault.Unavailable, "", true},
		{said(t, codes.Unknown, evalSays+clockSays), fault.Expired, "", false},
		{said(t, codes.ResourceExhausted, "grpc: received message larger than max (9 vs. 8)"), fault.TooLarge, "", false},
		{context.DeadlineExceeded, fault.Unavailable, "", true},
	} {
		got := evaluationError(c.err)
		var f *fault.Error
		var other *elsewhere
		if !errors.As(got, &f) || f.Code != c.want || c.detail != "" && f.Detail != c.detail || errors.As(got, &other) != c.elsewhere {
			t.Errorf("%v became %v (elsewhere: %v)", c.err, got, errors.As(got, &other))
		}
	}
}

func TestEndorsersThatDisagreeAreAskedAgain(t *testing.T) {
	for _, c := range []struct {
		err  error
		want fault.Code
		kind string
	}{
		{said(t, codes.Aborted, firstSays, ccSaysFull), fault.Exhausted, "final"},
		{said(t, codes.Aborted, othersSay, ccSaysFull), fault.Exhausted, "disagreement"},
		{said(t, codes.Aborted, othersSay, "ProposalResponsePayloads do not match"), fault.Contention, "disagreement"},
		{said(t, codes.Aborted, othersSay, "rpc error: code = Unavailable"), fault.Unavailable, "elsewhere"},
		{said(t, codes.Aborted, firstSays, mspDenies), fault.Forbidden, "final"},
		{said(t, codes.Aborted, firstSays, "rpc error: code = Unknown desc = "+clockSays), fault.Expired, "final"},
		{said(t, codes.Unknown, clockSays), fault.Expired, "final"},
		{said(t, codes.FailedPrecondition, "no combination of peers can be derived"), fault.Unavailable, "elsewhere"},
	} {
		got := endorsementError(c.err)
		kind := "final"
		var other *elsewhere
		var d *disagreement
		if errors.As(got, &other) {
			kind = "elsewhere"
		} else if errors.As(got, &d) {
			kind = "disagreement"
		}
		if fault.Of(got) != c.want || kind != c.kind {
			t.Errorf("%v became %s, %v", c.err, kind, got)
		}
	}
}

func TestAnOrdererRefusesOnlyWhatCanNeverPass(t *testing.T) {
	for _, c := range []struct {
		err  error
		want fault.Code // empty: it may pass
	}{
		{said(t, codes.Aborted, fmt.Sprintf(orderSays, "FORBIDDEN", "not a writer")), fault.Forbidden},
		{said(t, codes.Aborted, fmt.Sprintf(orderSays, "BAD_REQUEST", "message payload is 99 bytes and exceeds maximum allowed 9 bytes")), fault.TooLarge},
		{said(t, codes.Aborted, fmt.Sprintf(orderSays, "BAD_REQUEST", "odd")), fault.Invalid},
		{said(t, codes.Unavailable, "no orderers could successfully process transaction", fmt.Sprintf(orderSays, "SERVICE_UNAVAILABLE", "no Raft leader")), ""},
		{said(t, codes.Aborted, fmt.Sprintf(orderSays, "BAD_REQUEST", "channel does not exist")), ""},
		{said(t, codes.DeadlineExceeded, "submit timeout expired"), ""},
	} {
		if got := fault.Of(orderingRefusal(c.err)); got != c.want {
			t.Errorf("%v became %q, want %q", c.err, got, c.want)
		}
	}
}

func TestEveryValidationCodeIsAFault(t *testing.T) {
	for number, name := range peer.TxValidationCode_name {
		code := peer.TxValidationCode(number)
		err := validationFault("id", code)
		got := fault.Of(err)
		lost := code == peer.TxValidationCode_MVCC_READ_CONFLICT || code == peer.TxValidationCode_PHANTOM_READ_CONFLICT
		if lost && got != fault.Contention || got == fault.Unavailable || !strings.Contains(err.Error(), name) {
			t.Errorf("%s became %v", name, err)
		}
	}
}

func TestAPeersWordsAreBounded(t *testing.T) {
	got := evaluationError(said(t, codes.Unknown, strings.Repeat("x", 1<<20), strings.Repeat("é", 1<<20)))
	if n := len(got.Error()); n > 4*maxDetail {
		t.Errorf("an error of %d bytes", n)
	}
}

func TestAttackFabricsOwnWordsInAStrangersDocumentSayNothing(t *testing.T) {
	for _, words := range []string{
		mismatchMark, accessMark, duplicateMark, datedMark, othersFailed, noOrderer, notJoined, firstRefused, chaincodeMark + "200, ",
		ordererMark + "SERVICE_UNAVAILABLE", "UNAVAILABLE: the ledger is away", "CONTENTION: ", evaluateMark + chaincodeMark,
	} {
		want := fault.New(fault.Invalid, "consent: the purpose is %q", words)
		text := chaincodeMark + "500, " + want.Error()
		for name, got := range map[string]error{
			"endorsement":           endorsementError(said(t, codes.Aborted, firstSays, text)),
			"endorsement elsewhere": endorsementError(said(t, codes.Aborted, othersSay, text)),
			"evaluation":            evaluationError(said(t, codes.Unknown, evalSays+text, text)),
			"evaluation, detail":    evaluationError(said(t, codes.Unknown, "failed to evaluate transaction", text)),
		} {
			var f *fault.Error
			var other *elsewhere
			if !errors.As(got, &f) || f.Code != want.Code || f.Detail != want.Detail || errors.As(got, &other) {
				t.Errorf("%q in a document, %s: %v", words, name, got)
			}
			var d *disagreement
			if errors.As(got, &d) != (name == "endorsement elsewhere") {
				t.Errorf("%q in a document, %s, is read as a disagreement: %v", words, name, errors.As(got, &d))
			}
		}
	}
}

// An answer that the shim gives in the chaincode's place is the same at every peer:
// nobody is asked again.
func TestWhatTheShimSaysIsFinal(t *testing.T) {
	const words = failedMark + "failed to marshal response: string field contains invalid UTF-8"
	for name, err := range map[string]error{
		"endorsement": endorsementError(said(t, codes.Aborted, firstSays, words)),
		"evaluation":  evaluationError(said(t, codes.Aborted, evalSays+words)),
	} {
		var other *elsewhere
		if errors.As(err, &other) || fault.Of(err) != fault.Internal || !strings.Contains(err.Error(), "invalid UTF-8") {
			t.Errorf("%s: %v", name, err)
		}
	}
	var d *disagreement
	if err := endorsementError(said(t, codes.Aborted, othersSay, words)); !errors.As(err, &d) {
		t.Errorf("where the first peer came to a result: %v", err)
	}
}

// A chaincode whose stream to its peer ends before it can answer has said nothing: another
// peer is asked.
func TestAChaincodeThatLostItsPeerSaidNothing(t *testing.T) {
	const words = failedMark + "[992509c4] error sending TRANSACTION: EOF"
	for name, err := range map[string]error{
		"endorsement": endorsementError(said(t, codes.Aborted, firstSays, words)),
		"evaluation":  evaluationError(said(t, codes.Aborted, evalSays+words)),
	} {
		var other *elsewhere
		if !errors.As(err, &other) || fault.Of(err) != fault.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Only what certainly got nowhere may be handed in again without a look.
func TestWhatGotNowhereIsKnown(t *testing.T) {
	const dialling = "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused\""
	for _, c := range []struct {
		err     error
		nowhere bool
	}{
		{said(t, codes.Unavailable, dialling), true},
		{said(t, codes.Unavailable, "no orderer nodes available"), true},
		{said(t, codes.Unavailable, nobodyOrders), true},
		{said(t, codes.Unavailable, nobodyOrders, dialling, dialling), true},
		{said(t, codes.Unavailable, nobodyOrders, dialling, "EOF"), false},
		{said(t, codes.Unavailable, "error reading from server: EOF"), false},
		{said(t, codes.DeadlineExceeded, "submit timeout expired while broadcasting to ordering service"), false},
		{context.DeadlineExceeded, false},
	} {
		var e *elsewhere
		if err := readAnswer(c.err).unordered(); !errors.As(err, &e) || e.undelivered != c.nowhere {
			t.Errorf("%v: got nowhere: %v", c.err, !c.nowhere)
		}
	}
}
