package gateway

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/index"
)

// Erasures is what an index says about erased patients.
type Erasures interface {
	// Erasures returns the erasures from number `from` on, in ledger order.
	Erasures(from int) []record.ErasureReceipt
	// BlobsOf returns the blobs that a patient's devices have named.
	BlobsOf(patient record.ID) []index.Blob
	// Erased reports whether it has read that a patient is erased.
	Erased(patient record.ID) bool
}

type erasuresService struct {
	apiv1.UnimplementedErasuresServer
	g *Gateway
}

// Erase implements apiv1.ErasuresServer. Anyone may bring the document; what
// counts is the patient's signature.
func (s erasuresService) Erase(ctx context.Context, r *apiv1.EraseRequest) (*apiv1.Operation, error) {
	e, err := r.Erasure.Record()
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	network, parties := s.g.genesis.Network, s.g.genesis.RelyingParties
	if err := consent.CheckErasure(network, parties, e); err != nil {
		return nil, fault.New(fault.BadSignature, "the patient's signature of the erasure: %w", err)
	}
	return s.g.runner.begin(ctx, kindErase, e.Erasure.Patient.String(),
		&apiv1.StoredRequest{Document: &apiv1.StoredRequest_Erasure{Erasure: r.Erasure}},
		s.g.signedBy(e.Erasure.Patient, func(p record.Patient) error { return consent.VerifyErasure(network, parties, e, p) }))
}

// GetReceipt implements apiv1.ErasuresServer.
func (s erasuresService) GetReceipt(ctx context.Context, r *apiv1.GetErasureReceiptRequest) (*apiv1.ErasureReceipt, error) {
	if err := requireParty(callerOf(ctx), api.PartyPatient, r.Patient); err != nil {
		return nil, err
	}
	id, err := record.ParseID(r.Patient)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	receipt, err := evaluate(ctx, s.g.ledger, contracts.RegistryGetErasure, id)
	if err != nil {
		return nil, err
	}
	out := &apiv1.ErasureReceipt{State: apiv1.ErasureStateOf(receipt.State), Done: true}
	if !s.g.index.Erased(id) {
		return nil, fault.New(fault.Unavailable, "the gateway is still reading the ledger; try again")
	}
	duties := s.g.duties(receipt.State.Epochs)
	for _, duty := range duties {
		fulfil(duty, receipt.Reports)
		out.Members = append(out.Members, duty)
		out.Done = out.Done && duty.Done
	}
	left, err := s.g.store.blobsLeft(ctx, id)
	out.BlobsLeft, out.Done = int64(len(left)), out.Done && len(left) == 0 && s.g.store.clean.has(id)
	return out, err
}

// duties lists who has to destroy the details key, and to delete seeds, of a patient
// who was erased while these epochs lived: their members, unless the epoch has ended.
func (l *ledger) duties(epochs []uint32) []*apiv1.ErasureDuty {
	var out []*apiv1.ErasureDuty
	for _, e := range l.roster().Epochs {
		if !slices.Contains(epochs, e.Number) {
			continue
		}
		for _, m := range e.Members {
			out = append(out, &apiv1.ErasureDuty{Member: m.MSP, Epoch: e.Number})
		}
	}
	return out
}

// fulfil enters the report that a duty is done by.
func fulfil(duty *apiv1.ErasureDuty, reports []record.SignedErasureReport) {
	i := slices.IndexFunc(reports, func(s record.SignedErasureReport) bool {
		return s.Report.Member == duty.Member && s.Report.Epoch == duty.Epoch
	})
	if i < 0 {
		return
	}
	duty.Done, duty.Report = true, apiv1.SignedErasureReportOf(reports[i])
}

// blobsLeft returns the patient's blobs that are stored here.
func (st *store) blobsLeft(ctx context.Context, patient record.ID) ([]index.Blob, error) {
	var left []index.Blob
	for _, b := range st.index.BlobsOf(patient) {
		stored, err := st.blobs.Has(ctx, b.ID)
		if err != nil {
			return nil, st.fault(err)
		}
		if stored && st.owns(ctx, b) {
			left = append(left, b)
		}
	}
	return left, nil
}

// owns reports whether a stored blob is its patient's.
func (st *store) owns(ctx context.Context, b index.Blob) bool {
	data, err := st.blobs.Get(ctx, b.ID)
	if err != nil && !errors.Is(err, blob.ErrCorrupt) {
		return false
	}
	return b.Owned(data)
}

// cleaned are the erased patients of whom the gateway has nothing left. It is made anew
// with every start.
type cleaned struct {
	mu       sync.Mutex
	patients map[record.ID]bool
}

func (c *cleaned) add(patients []record.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range patients {
		c.patients[id] = true
	}
}

func (c *cleaned) has(patient record.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.patients[patient]
}

// lookEvery is how often the gateway looks for erasures in its index.
const lookEvery = 500 * time.Millisecond

// eraser deletes what is stored of erased patients. It begins anew with every
// start, since deleting twice is harmless and half a deletion is not.
func (st *store) eraser(ctx context.Context) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	next := 0
	var open []record.ID
	for {
		fresh := st.index.Erasures(next)
		next += len(fresh)
		for _, e := range fresh {
			open = append(open, e.State.Signed.Erasure.Patient)
		}
		if len(open) > 0 {
			open = st.eraseAll(ctx, open)
		}
		select {
		case <-look.C:
		case <-st.quit:
			return
		}
	}
}

// eraseAll returns the patients for whom it has to be tried again. The journal is
// cleaned once for all of them, when none of their consents and proofs waits to be refused.
func (st *store) eraseAll(ctx context.Context, patients []record.ID) []record.ID {
	var again, gone []record.ID
	for _, id := range patients {
		err := st.erase(ctx, id)
		if err != nil {
			st.log.Error("a patient's erasure is not done; trying again", "patient", id.Short(), "error", err)
		}
		if err != nil || st.ops.waits(id) {
			again = append(again, id)
			continue
		}
		gone = append(gone, id)
	}
	if len(gone) == 0 {
		return again
	}
	if err := st.ops.journal.forgetPatients(ctx, gone); err != nil {
		st.log.Error("the journal still has requests of erased patients; trying again", "error", err)
		return patients
	}
	st.clean.add(gone)
	return again
}

func (st *store) erase(ctx context.Context, patient record.ID) error {
	left, err := st.blobsLeft(ctx, patient)
	if err != nil {
		return err
	}
	for _, b := range left {
		if err := st.blobs.Delete(ctx, b.ID); err != nil {
			return err
		}
	}
	return nil
}
