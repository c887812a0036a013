package fabric

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
)

// lasting gives an identity's certificate another life.
func lasting(t *testing.T, ca *network.CA, id network.Identity, life time.Duration) network.Identity {
	t.Helper()
	id, err := ca.Renew(id, life)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A client whose certificate has ended says so at once, to whom calls and to whom
// follows blocks, and blames no peer.
func TestAnEndedCertificateIsNamedAtOnce(t *testing.T) {
	ca, err := network.NewCA(ownOrg)
	if err != nil {
		t.Fatal(err)
	}
	id, err := ca.Issue("client", "client")
	if err != nil {
		t.Fatal(err)
	}
	p, _ := nowhere(t)
	p.Orgs[0].Root, p.Orgs[0].PeerTLSRoot = ca.RootPEM(), ca.RootPEM()
	var log bytes.Buffer
	c := connect(t, p, lasting(t, ca, id, time.Second), WithLog(slog.New(slog.NewTextHandler(&log, nil))))
	time.Sleep(1100 * time.Millisecond)
	begun := time.Now()
	call := network.Call{Function: "get", Args: []string{"k"}}
	_, submitted := c.Submit(t.Context(), call)
	_, evaluated := c.Evaluate(t.Context(), call)
	_, height := c.Height(t.Context())
	var followed error
	for _, followed = range c.Blocks(t.Context(), 0) {
		break
	}
	for name, err := range map[string]error{"submit": submitted, "evaluate": evaluated, "height": height, "blocks": followed} {
		if !errors.Is(err, ErrCertificate) || fault.Of(err) != fault.Unavailable || !strings.Contains(err.Error(), ownOrg) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if strings.Contains(log.String(), "does not serve") {
		t.Errorf("a peer was blamed:\n%s", &log)
	}
}

func TestAnEndingCertificateIsWarnedOf(t *testing.T) {
	ca, err := network.NewCA(ownOrg)
	if err != nil {
		t.Fatal(err)
	}
	id, err := ca.Issue("client", "client")
	if err != nil {
		t.Fatal(err)
	}
	p, _ := nowhere(t)
	p.Orgs[0].Root, p.Orgs[0].PeerTLSRoot = ca.RootPEM(), ca.RootPEM()
	for life, want := range map[time.Duration]int{network.WarnBefore - time.Hour: 1, network.WarnBefore + time.Hour: 0} {
		var log bytes.Buffer
		c := connect(t, p, lasting(t, ca, id, life), WithLog(slog.New(slog.NewTextHandler(&log, nil))))
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_, _ = c.Evaluate(ctx, network.Call{Function: "get"}) // nobody is there
			cancel()
		}
		if got := strings.Count(log.String(), "ends soon"); got != want {
			t.Errorf("a certificate that ends in %v is warned of %d times, want %d", life, got, want)
		}
	}
}

// A peer whose clock is ahead says it in words of its own.
func TestACertificateThatAPeerHoldsForEnded(t *testing.T) {
	for name, err := range map[string]error{
		"endorsement": endorsementError(said(t, codes.Aborted, firstSays, "proposal client identity expired")),
		"evaluation":  evaluationError(said(t, codes.Unavailable, "evaluate call to endorser returned error: proposal client identity expired")),
		"ordering":    orderingRefusal(said(t, codes.Aborted, ordererMark+"FORBIDDEN, info=broadcast client identity expired")),
	} {
		var other *elsewhere
		if !errors.Is(err, ErrCertificate) || errors.As(err, &other) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
