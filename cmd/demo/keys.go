package demo

import (
	"context"
	"sync/atomic"

	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/network/institution"
)

// lateKeys are the details keys of an institution that comes up after the ledger and
// the gateway, which need them.
type lateKeys struct {
	from atomic.Pointer[institution.Institution]
}

// DetailsKey implements details.Source.
func (k *lateKeys) DetailsKey(ctx context.Context, r details.Ref) (details.Key, error) {
	in := k.from.Load()
	if in == nil {
		return details.Key{}, details.Later(r.Patient)
	}
	return in.DetailsKey(ctx, r)
}

// Held implements index.Keys.
func (k *lateKeys) Held(r details.Ref) (details.Key, bool) {
	in := k.from.Load()
	if in == nil {
		return details.Key{}, false
	}
	return in.Held(r)
}
