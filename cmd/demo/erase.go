package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/web"
)

// erasedWithin bounds how long gateway and institutions may take to delete.
const erasedWithin = 2 * time.Minute

// erase has a patient erased, and waits until everybody has deleted what was the
// patient's and the institutions have signed that they did.
func (w *world) erase(ctx context.Context, p *person) (*api.ErasureReceipt, error) {
	e := record.Erasure{Patient: p.id}
	sig, err := record.Sign(p.key, e.Digest(w.genesis.Network))
	if err != nil {
		return nil, err
	}
	op, err := p.client.Erase(ctx, record.SignedErasure{Erasure: e, Key: record.PublicKeyBytes(&p.key.PublicKey), Signature: sig})
	if err != nil {
		return nil, err
	}
	if _, err := p.client.Wait(ctx, op); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, erasedWithin)
	defer cancel()
	for {
		r, err := p.client.Erasure(ctx, p.id)
		if err == nil && r.Done || err != nil && !fault.Codes[fault.Of(err)].Retry {
			return r, err
		}
		select {
		case <-ctx.Done():
			return r, fmt.Errorf("the erasure of %s is not done after %s: %w", p.ID, erasedWithin, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// eraseRevoker erases the one who has revoked, last of all, and shows the receipt.
func (w *world) eraseRevoker(ctx context.Context, people []*person) (web.Section, error) {
	s := web.Section{Title: "An erasure (the patient who revoked)"}
	for _, p := range people {
		if p.Person != w.revoker {
			continue
		}
		r, err := w.erase(ctx, p)
		if err != nil {
			return s, fmt.Errorf("erasing: %w", err)
		}
		w.progress.line("%s is erased", p.ID)
		t := web.Table{Caption: "Who signed", Columns: []string{"member", "seeds deleted"}}
		for _, m := range r.Members {
			t.Rows = append(t.Rows, []string{m.Member, fmt.Sprint(m.Report.GetReport().GetSeeds())})
		}
		s.Facts = []web.Fact{
			{Name: "consent versions purged", Value: fmt.Sprint(r.State.Consents)},
			{Name: "blobs left at the gateway", Value: fmt.Sprint(r.BlobsLeft)},
		}
		s.Tables = []web.Table{t}
	}
	return s, nil
}
