package patient

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"slices"
	"time"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/site"
)

type eraseCommand struct {
	dirFlag
	Wait time.Duration `help:"How long to wait until everybody has signed to have deleted." default:"2m"`
	Out  string        `help:"Where to write the receipt." type:"path" default:"erasure.json"`
	Yes  bool          `help:"Sign without asking."`
}

var eraseWords = []string{
	"Everything of yours that can be deleted is deleted: what your consents say, what your devices sealed, their seeds.",
	"This is final. Answers that were given before stay given. To take part again you enrol anew.",
}

// Run erases the patient, or, where that is done, fetches the receipt again.
func (c eraseCommand) Run(ctx context.Context) error {
	h, err := c.confirmed()
	if err != nil {
		return err
	}
	client, key, err := h.client()
	if err != nil {
		return err
	}
	defer client.Close()
	erasure := func(ctx context.Context) (*api.ErasureReceipt, error) { return client.Erasure(ctx, h.Patient) }
	if _, err := answered(ctx, erasure); fault.Of(err) == fault.NotFound {
		if err := agree(eraseWords, c.Yes); err != nil {
			return err
		}
		if err := Erase(ctx, client, h.genesis.Network, h.Patient, key); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	receipt, complete, err := Receipt(ctx, client, h.Patient, c.Wait)
	if err != nil {
		return err
	}
	p, err := h.own()
	if err != nil {
		return err
	}
	if err := consent.VerifyErasure(h.genesis.Network, h.genesis.RelyingParties, receipt.State.Signed, p); err != nil {
		return fmt.Errorf("you are not erased as far as can be seen: the gateway shows an erasure that you did not sign: %w", err)
	}
	if err := site.Save(c.Out, receipt); err != nil {
		return err
	}
	if !complete {
		return fault.New(fault.Unavailable, "you are erased; not everybody has signed to have deleted by now. %s has the receipts so far, and \"patient erase\" fetches the others later", c.Out)
	}
	if _, err := h.check(receipt); err != nil {
		return fmt.Errorf("the gateway says that all is deleted, and what it shows (%s) does not prove it: %w", c.Out, err)
	}
	_, err = fmt.Printf("erased: %d versions of consents and what %d devices sealed; %s has the receipt\n", receipt.State.Consents, len(receipt.State.Devices), c.Out)
	return err
}

const receiptPause = 200 * time.Millisecond

// Erase has a patient erased, whose key this is.
func Erase(ctx context.Context, client *api.Client, network string, patient record.ID, key *ecdsa.PrivateKey) error {
	s := record.SignedErasure{Erasure: record.Erasure{Patient: patient}, Key: record.PublicKeyBytes(&key.PublicKey)}
	var err error
	if s.Signature, err = record.Sign(key, s.Erasure.Digest(network)); err != nil {
		return err
	}
	op, err := client.Erase(ctx, s)
	return Done(ctx, client, op, err)
}

// Receipt asks for the receipt of an erasure until it is complete or the wait is over, and
// says which.
func Receipt(ctx context.Context, client *api.Client, patient record.ID, wait time.Duration) (record.ErasureReceipt, bool, error) {
	var r record.ErasureReceipt
	for deadline := time.Now().Add(wait); ; {
		m, err := client.Erasure(ctx, patient)
		late := time.Now().After(deadline)
		if err != nil && (late || !fault.Codes[fault.Of(err)].Retry) {
			return r, false, err
		}
		if err == nil && (m.Done || late) {
			r, err = toReceipt(m)
			return r, m.Done, err
		}
		select {
		case <-ctx.Done():
			return r, false, ctx.Err()
		case <-time.After(receiptPause):
		}
	}
}

func toReceipt(m *api.ErasureReceipt) (record.ErasureReceipt, error) {
	state, err := m.State.Record()
	r := record.ErasureReceipt{State: state}
	for _, duty := range m.Members {
		if err != nil || duty.Report == nil {
			continue
		}
		var s record.SignedErasureReport
		s, err = duty.Report.Record()
		r.Reports = append(r.Reports, s)
	}
	return r, err
}

type verifyCommand struct {
	dirFlag
	Receipt string `arg:"" help:"The receipt, as \"patient erase\" wrote it." type:"existingfile"`
}

// Run checks a receipt of an erasure: the patient's own signature, and that every member
// of the network has signed to have deleted.
func (c verifyCommand) Run() error {
	h, err := c.confirmed()
	if err != nil {
		return err
	}
	var r record.ErasureReceipt
	if err := site.Load(c.Receipt, &r); err != nil {
		return err
	}
	reports, err := h.check(r)
	for _, s := range reports {
		fmt.Printf("%s has deleted its key to what your consents say, and %d seeds of your devices\n", s.Report.Member, s.Report.Seeds)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Printf("the receipt holds: all %d members have signed\n", len(h.genesis.Members))
	return err
}

// check returns the reports of a receipt, and no error if the patient has signed the
// erasure and all members that had something to delete have signed that they did.
func (h *home) check(r record.ErasureReceipt) ([]record.SignedErasureReport, error) {
	p, err := h.own()
	if err != nil {
		return nil, err
	}
	network := h.genesis.Network
	if err := consent.VerifyErasure(network, h.genesis.RelyingParties, r.State.Signed, p); err != nil {
		return nil, err
	}
	for _, e := range r.State.Epochs {
		if e != 0 {
			return nil, fmt.Errorf("members of epoch %d have something to delete too, and the network's document does not say who they are", e)
		}
	}
	if err := r.Verify(network, map[uint32]record.EpochState{0: {Epoch: h.genesis.FirstEpoch()}}); err != nil {
		return nil, err
	}
	for _, m := range h.genesis.Members {
		by := func(s record.SignedErasureReport) bool { return s.Report.Member == m.MSP }
		i := slices.IndexFunc(r.Reports, by)
		switch {
		case i < 0:
			return r.Reports, fmt.Errorf("%s has not signed to have deleted what it had", m.MSP)
		case !slices.Equal(r.Reports[i].Report.Devices, r.State.Devices):
			return r.Reports, fmt.Errorf("%s has not signed to have deleted what it had of every device", m.MSP)
		}
	}
	return r.Reports, nil
}
