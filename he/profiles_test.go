package he

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/he/privacy"
)

// TestEverySharingHasAProfile: up to seven members, whatever the threshold; and
// what Safety says is what New does.
func TestEverySharingHasAProfile(t *testing.T) {
	served := map[[2]int]string{}
	for i, entry := range Safety(privacy.V1()) {
		profile := Profiles()[i]
		if entry.Profile != profile.Name {
			t.Fatalf("entry %d is %s, not %s", i, entry.Profile, profile.Name)
		}
		for _, r := range entry.Safe {
			key := [2]int{r.Members, r.Threshold}
			if served[key] == "" {
				served[key] = r.Profile
			}
			if r.SecurityBits < 128 || r.FloodDistanceLog2 > -40 || r.OpeningMarginBits <= 0 || r.FieldMarginBits <= 0 || r.FailureLog2 > -128 {
				t.Errorf("%s for %d of %d is called safe: %+v", r.Profile, r.Threshold, r.Members, r)
			}
		}
		for _, r := range entry.Refused {
			sharing, err := NewSharing(r.Members, r.Threshold)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := New(profile, privacy.V1(), sharing); err == nil || !strings.Contains(err.Error(), r.Reason) {
				t.Errorf("%s is refused for %d of %d, New says %v", profile.Name, r.Threshold, r.Members, err)
			}
		}
	}
	for n := 2; n <= 7; n++ {
		for k := 2; k <= n; k++ {
			if served[[2]int{n, k}] == "" {
				t.Errorf("no profile for %d of %d", k, n)
			}
		}
	}
	for key, want := range map[[2]int]string{{3, 2}: DefaultProfile().Name, {4, 3}: TightProfile().Name, {7, 2}: TightProfile().Name, {7, 4}: WideProfile().Name} {
		if served[key] != want {
			t.Errorf("%d of %d is served by %q first, not %q", key[1], key[0], served[key], want)
		}
	}
}

// TestSecurityLevelsComeFromTheTables: the lower table decides; above the limit
// there is no level.
func TestSecurityLevelsComeFromTheTables(t *testing.T) {
	for _, c := range []struct{ bits, logN, want int }{
		{214, 13, 128}, {215, 13, 0}, {152, 13, 192}, {118, 13, 256}, {430, 14, 128}, {431, 14, 0}, {224, 14, 256}, {238, 14, 192}, {27, 9, 0},
	} {
		if got := securityLevel(c.bits, c.logN); got != c.want {
			t.Errorf("%d bits at N = 2^%d have level %d, want %d", c.bits, c.logN, got, c.want)
		}
	}
}

// TestProfilesPrint: the text is pinned, the JSON reads back, an error of the
// writer comes back.
func TestProfilesPrint(t *testing.T) {
	var text, doc bytes.Buffer
	if err := WriteProfiles(&text, false); err != nil {
		t.Fatal(err)
	}
	goldenText(t, "profiles.txt", text.Bytes())
	if err := WriteProfiles(&doc, true); err != nil {
		t.Fatal(err)
	}
	var back []ProfileSafety
	if err := json.Unmarshal(doc.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if len(back) != len(Profiles())*len(rowSchemas()) || len(back[0].Safe) == 0 || back[0].Safe[0].SecuritySource != SecuritySource {
		t.Errorf("the JSON reads back as %+v", back)
	}
	if err := WriteProfiles(broken{}, false); !errors.Is(err, errBroken) {
		t.Errorf("a broken writer gives %v", err)
	}
	if err := WriteProfiles(broken{}, true); !errors.Is(err, errBroken) {
		t.Errorf("a broken writer gives %v", err)
	}
}

var errBroken = errors.New("broken")

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errBroken }

// TestTightProfileOpensWithSevenPieces: the profile with least room, with as many
// pieces as it is for.
func TestTightProfileOpensWithSevenPieces(t *testing.T) {
	sharing, err := NewSharing(7, 2)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(TightProfile(), privacy.V1(), sharing)
	if err != nil {
		t.Fatal(err)
	}
	var devices []*testDevice
	var rows [][]byte
	w := Window{Hour: 5}
	for range 12 {
		d := newTestDevice(t, p, testContext)
		devices = append(devices, d)
		rows = append(rows, d.seal(t, p, testContext, w, smallRow(t, p, 60, -6000)))
	}
	shares := map[int][]byte{}
	for piece, groups := range groupsOf(t, p, devices, w) {
		v, err := p.KeyProduct(testContext, p.Schema().MetricCoefficients(0), groups)
		if err != nil {
			t.Fatal(err)
		}
		if shares[piece], err = p.Share(PieceKey{9}, request(p, piece, 0, 12, nil), v); err != nil {
			t.Fatal(err)
		}
	}
	opened, err := p.Open(sumOf(t, p, 0, rows), shares)
	if err != nil {
		t.Fatal(err)
	}
	if got := decode(t, p, 0, opened); got.N != 720 || got.Sum != -72000 {
		t.Errorf("opened n %d and sum %d, want 720 and -72000", got.N, got.Sum)
	}
}
