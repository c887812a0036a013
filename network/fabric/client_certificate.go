package fabric

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
)

// ErrCertificate says that the client's own certificate has ended, or has not
// begun. No peer serves it, and none is to blame. With an identity that follows its
// files (network.FollowIdentity), calls succeed again as soon as it is renewed.
var ErrCertificate = errors.New("this client's certificate is not valid now")

// warnEvery is how often a client reminds of a certificate that ends soon.
const warnEvery = 24 * time.Hour

// reminder is when the client was last reminded, in Unix nanoseconds.
type reminder struct{ last atomic.Int64 }

// due says whether to remind now.
func (r *reminder) due(now time.Time) bool {
	last := r.last.Load()
	return now.UnixNano()-last >= int64(warnEvery) && r.last.CompareAndSwap(last, now.UnixNano())
}

// certified checks the client's certificate before peers are asked anything: they
// would refuse it in words that look like their own failure.
func (c *Client) certified() error {
	now := time.Now()
	leaf, err := c.id.Current().Leaf()
	if err != nil {
		return fault.New(fault.Unavailable, "%w: %w", ErrCertificate, err)
	}
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return fault.New(fault.Unavailable, "%w: that of %q of %s is valid from %s to %s; renew it", ErrCertificate,
			leaf.Subject.CommonName, c.id.MSP, leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if left := leaf.NotAfter.Sub(now); left < network.WarnBefore && c.reminder.due(now) {
		c.log.Warn("this client's certificate ends soon: renew it", "msp", c.id.MSP, "name", leaf.Subject.CommonName,
			"ends", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}
