package consent

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/vitalveil/vitalveil/internal/record"
)

// Bounds of a network's relying parties.
const (
	maxParties = 8
	maxOrigins = 8
	maxDomain  = 253
	maxLabel   = 63
)

// CheckRelyingParties checks the relying parties of a genesis: each has a domain
// as its id and at least one origin on that domain or below it, written as
// browsers write origins, or an Android app as its platform writes it. Origins of pages
// are https; http is for localhost only, which never leaves the machine. That an id is not a public suffix such as "co.uk" is
// not checked: browsers refuse to sign for those.
func CheckRelyingParties(parties []record.RelyingParty) error {
	if len(parties) > maxParties {
		return fmt.Errorf("%d relying parties are listed, at most %d are possible", len(parties), maxParties)
	}
	for i, p := range parties {
		if err := checkRelyingParty(p); err != nil {
			return fmt.Errorf("relying party %d: %w", i, err)
		}
		for _, other := range parties[:i] {
			if other.ID == p.ID {
				return fmt.Errorf("relying party %d: %q is listed already", i, clip(p.ID))
			}
		}
	}
	return nil
}

func checkRelyingParty(p record.RelyingParty) error {
	if !isDomain(p.ID) {
		return fmt.Errorf("id %q is not a domain in lower case", clip(p.ID))
	}
	if len(p.Origins) == 0 || len(p.Origins) > maxOrigins || record.Repeats(p.Origins) {
		return fmt.Errorf("it names each origin once, and 1 to %d of them", maxOrigins)
	}
	for _, o := range p.Origins {
		if err := checkOrigin(o, p.ID); err != nil {
			return fmt.Errorf("origin %q: %w", clip(o), err)
		}
	}
	return nil
}

// checkOrigin checks the ASCII serialisation of an origin (RFC 6454, section
// 6.2) as browsers write it: no default port, no path.
func checkOrigin(origin, party string) error {
	if hash, isApp := strings.CutPrefix(origin, appOrigin); isApp {
		return checkApp(hash)
	}
	scheme, rest, ok := strings.Cut(origin, "://")
	if !ok || scheme != "https" && scheme != "http" {
		return errors.New("it does not begin with https://")
	}
	host, port, hasPort := strings.Cut(rest, ":")
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return errors.New("its port is not a number from 1 to 65535")
		}
		if scheme == "https" && n == 443 || scheme == "http" && n == 80 {
			return errors.New("browsers leave out the default port, so this one never matches")
		}
	}
	switch {
	case !isDomain(host):
		return errors.New("its host is not a domain in lower case, or something follows it")
	case host != party && !strings.HasSuffix(host, "."+party):
		return errors.New("its host is not on the relying party's domain")
	case scheme == "http" && !isLocal(host):
		return errors.New("http is for localhost only")
	}
	return nil
}

// appOrigin begins the origin that Android gives an app which asks for a signature; the
// SHA-256 of the certificate that the app is signed with follows, in base64url. That
// the app belongs to the relying party the platform checks, by the domain's asset links.
const appOrigin = "android:apk-key-hash:"

func checkApp(hash string) error {
	b, err := base64.RawURLEncoding.Strict().DecodeString(hash)
	if err != nil || len(b) != sha256.Size || strings.ContainsAny(hash, "\r\n") {
		return errors.New("the SHA-256 of the app's certificate does not follow in base64url without padding")
	}
	return nil
}

// isLocal reports whether a host never leaves the machine (RFC 6761, section
// 6.3). Addresses such as 127.0.0.1 cannot be relying parties.
func isLocal(host string) bool { return host == "localhost" || strings.HasSuffix(host, ".localhost") }

// isDomain reports whether s is localhost or a domain of two or more labels,
// none of them a number at the end, as in an IPv4 address.
func isDomain(s string) bool {
	if len(s) > maxDomain {
		return false
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if !isLabel(l) {
			return false
		}
	}
	last := labels[len(labels)-1]
	return (len(labels) > 1 || last == "localhost") && (last[0] < '0' || last[0] > '9')
}

func isLabel(s string) bool {
	if len(s) == 0 || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
