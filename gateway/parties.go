package gateway

import (
	"context"
	"time"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// prover finds out whose an operation is, in whose lane it waits and of whose share
// it takes. What a party has not signed it refuses.
type prover func(context.Context) (string, error)

// proven is for what was proven before.
func proven(party string) prover {
	return func(context.Context) (string, error) { return party, nil }
}

// askTime bounds the question who a patient is. Without an answer the document is
// taken: whoever wants to stop something must not depend on it.
const askTime = 3 * time.Second

// signedBy is for documents that anyone may bring and a patient has signed: check
// holds the signature against the patient that the ledger knows. While the ledger
// cannot be asked, they are their sender's.
func (l *ledger) signedBy(patient record.ID, check func(record.Patient) error) prover {
	return func(ctx context.Context) (string, error) {
		ask, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		p, err := l.patient(ask, patient)
		switch {
		case err != nil && passing(err):
			return "address:" + callerOf(ctx).address, ctx.Err()
		case err != nil:
			return "", err
		}
		if err := check(p); err != nil {
			return "", fault.New(fault.BadSignature, "%w", err)
		}
		return api.PatientParty(patient), nil
	}
}
