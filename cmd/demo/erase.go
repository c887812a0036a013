package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/vitalveil/vitalveil/cmd/patient"
	"github.com/vitalveil/vitalveil/internal/web"
)

// erasedWithin bounds how long gateway and institutions may take to delete.
const erasedWithin = 2 * time.Minute

// eraseRevoker erases the one who has revoked, last of all, and shows the receipt.
func (w *world) eraseRevoker(ctx context.Context, people []*person) (web.Section, error) {
	s := web.Section{Title: "An erasure (the patient who revoked)"}
	for _, p := range people {
		if p.Person != w.revoker {
			continue
		}
		if err := patient.Erase(ctx, p.client, w.genesis.Network, p.id, p.key); err != nil {
			return s, fmt.Errorf("erasing: %w", err)
		}
		r, done, err := patient.Receipt(ctx, p.client, p.id, erasedWithin)
		if err != nil || !done {
			return s, fmt.Errorf("the erasure of %s is not done after %s: %w", p.ID, erasedWithin, err)
		}
		w.progress.line("%s is erased", p.ID)
		t := web.Table{Caption: "Who signed", Columns: []string{"member", "seeds deleted"}}
		for _, m := range r.Reports {
			t.Rows = append(t.Rows, []string{m.Report.Member, fmt.Sprint(m.Report.Seeds)})
		}
		s.Facts = []web.Fact{
			{Name: "consent versions purged", Value: fmt.Sprint(r.State.Consents)},
		}
		s.Tables = []web.Table{t}
	}
	return s, nil
}
