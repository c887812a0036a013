package site

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/vitalveil/vitalveil/network"
)

// warnEvery is how often a process says that a certificate ends soon.
const warnEvery = 24 * time.Hour

// Certificate is until when one of a process's certificates serves.
type Certificate struct {
	Of      string `json:"of"`                // directory, for people
	Until   int64  `json:"until"`             // Unix seconds
	Problem string `json:"problem,omitempty"` // it ends soon, or a renewed one is unusable
}

// Identities are those that a process uses, by their directories. They follow their
// files (network.FollowIdentity).
type Identities map[string]network.Identity

// Certificates says until when each serves, and what is wrong with that.
func (ids Identities) Certificates() []Certificate {
	var all []Certificate
	for _, dir := range slices.Sorted(maps.Keys(ids)) {
		all = append(all, certificateOf(dir, ids[dir], time.Now()))
	}
	return all
}

// Warn logs now and every day what is wrong with certificates, until ctx ends.
func (ids Identities) Warn(ctx context.Context, log *slog.Logger) error {
	t := time.NewTicker(warnEvery)
	defer t.Stop()
	for {
		for _, c := range ids.Certificates() {
			if c.Problem != "" {
				log.Warn("certificate", "of", c.Of, "until", time.Unix(c.Until, 0).UTC(), "problem", c.Problem)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

func certificateOf(of string, id network.Identity, now time.Time) Certificate {
	c := Certificate{Of: of}
	unused := id.Renewal()
	until, err := id.Expires()
	if err != nil {
		return Certificate{Of: of, Problem: err.Error()}
	}
	c.Until = until.Unix()
	switch left := until.Sub(now); {
	case left <= 0:
		c.Problem = "it has ended: others refuse it. Renew it with \"vitalveil institution certificate\""
	case left <= network.WarnBefore:
		c.Problem = fmt.Sprintf("it ends in %d days. Renew it with \"vitalveil institution certificate\"; nothing has to stop for that", int(left/(24*time.Hour)))
	}
	if unused != nil {
		c.Problem = fmt.Sprintf("what took its place is not used: %v", unused)
	}
	return c
}
