package patient

import (
	"crypto/ecdsa"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/site"
)

// lied is a patient's directory before a gateway that answers whatever answer says.
type lied struct {
	*consortium.Consortium
	dirFlag
	home   *home
	key    *ecdsa.PrivateKey
	answer http.HandlerFunc
}

func newLied(t *testing.T, change ...func(*record.Genesis)) *lied {
	l := &lied{Consortium: consortium.New(t, change...), dirFlag: dirFlag{filepath.Join(t.TempDir(), "p")}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { l.answer(w, r) }))
	t.Cleanup(s.Close)
	network := filepath.Join(t.TempDir(), "network.json")
	l.OK(site.Save(network, record.Descriptor{Genesis: l.Genesis, Roots: map[string][]byte{}}))
	l.OK(initCommand{dirFlag: l.dirFlag, Network: network, Gateway: s.URL}.Run())
	h, err := l.open()
	l.OK(err)
	h.Confirmed = true
	l.OK(h.save())
	l.key, err = h.key()
	l.OK(err)
	l.home = h
	return l
}

// A gateway says that the patient is erased already, so that nothing is signed and all
// stays; or it has passed the demand on and says that members have deleted, who have not.
func TestAttackAGatewayThatSaysThatThePatientIsErased(t *testing.T) {
	l := newLied(t)
	show := func(by *ecdsa.PrivateKey, epochs []uint32, devices []record.ID, reports ...record.SignedErasureReport) {
		e := record.Erasure{Patient: l.home.Patient}
		signed := record.SignedErasure{Erasure: e, Key: consortium.Public(by), Signature: consortium.Sign(by, e.Digest(l.Genesis.Network))}
		m := &api.ErasureReceipt{Done: true, State: apiv1.ErasureStateOf(record.ErasureState{Signed: signed, Devices: devices, Epochs: epochs})}
		for _, r := range reports {
			m.Members = append(m.Members, &apiv1.ErasureDuty{Member: r.Report.Member, Done: true, Report: apiv1.SignedErasureReportOf(r)})
		}
		l.answer = func(w http.ResponseWriter, _ *http.Request) { w.Write(consortium.Must(protojson.Marshal(m))) }
	}
	report := func(msp string, devices ...record.ID) record.SignedErasureReport {
		e := record.Erasure{Patient: l.home.Patient}
		return l.SignReport(record.ErasureReport{Patient: e.Patient, Erasure: e.Digest(l.Genesis.Network), Member: msp, Devices: devices})
	}
	device := record.RandomID()
	var all []record.SignedErasureReport
	for _, msp := range consortium.MSPs {
		all = append(all, report(msp, device))
	}
	erase := eraseCommand{dirFlag: l.dirFlag, Yes: true, Out: filepath.Join(t.TempDir(), "erasure.json")}
	for what, lie := range map[string]func(){
		"did not sign":       func() { show(consortium.NewKey(), []uint32{0}, []record.ID{device}, all...) },
		"does not prove it":  func() { show(l.key, []uint32{0}, []record.ID{device}, all[1:]...) },
		"members of epoch 1": func() { show(l.key, []uint32{0, 1}, []record.ID{device}, all...) },
		"of every device":    func() { show(l.key, []uint32{0}, []record.ID{device, record.RandomID()}, all...) },
		"another patient's":  func() { l.answer = func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"done": true}`)) } },
	} {
		lie()
		if err := erase.Run(t.Context()); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("want %q, got %v", what, err)
		}
	}
	show(l.key, []uint32{0}, []record.ID{device}, all...)
	if err := erase.Run(t.Context()); err != nil {
		t.Errorf("a receipt that holds: %v", err)
	}
}

// A hub, or whoever carries its file, names a metric that no screen shows as it is: what
// is signed has to be what was shown.
func TestAttackADeviceWhoseMetricsHideWords(t *testing.T) {
	l := newLied(t)
	hub := consortium.NewKey()
	r := record.DeviceRequest{Network: l.Genesis.Network, Enrolment: record.EnrolDevice{Device: record.Device{
		Key: consortium.Public(hub), Patient: l.home.Patient, Metrics: []string{"glucose", "heart_rate.\x1b[8m"},
	}}}
	r.Enrolment.DeviceSignature = consortium.Sign(hub, r.Digest())
	file := filepath.Join(t.TempDir(), "device.json")
	l.OK(site.Save(file, r))
	if err := (deviceCommand{dirFlag: l.dirFlag, File: file, Yes: true}).Run(); err == nil || !strings.Contains(err.Error(), `\x1b`) {
		t.Errorf("it is signed: %v", err)
	}
	if shown := site.Plain("\x1b]52;c;eA==\a\u202eyes\r\n"); strings.ContainsAny(shown, "\x1b\a\r\n\u202e") {
		t.Errorf("a terminal gets %q", shown)
	}
}

// A gateway says that it is another year, so that what the patient forbids is forbidden
// from then on only: shown perhaps, but with --yes signed at once.
func TestAttackAGatewayThatSaysAnotherTime(t *testing.T) {
	l := newLied(t, func(g *record.Genesis) { g.Clock = record.ClockWall })
	year := int64(365 * 24 * 3600)
	for _, off := range []int64{year, -year, math.MaxInt64 - l.Now, math.MinInt64} {
		said := l.Now + off
		l.answer = func(w http.ResponseWriter, _ *http.Request) {
			g := consortium.Must(apiv1.GenesisOf(l.Genesis))
			w.Write(consortium.Must(protojson.Marshal(&apiv1.GetNetworkResponse{Genesis: g, LedgerTime: said})))
		}
		c := consentCommand{
			dirFlag: l.dirFlag, Grantee: "HospitalA", Purpose: "HRESCH", Metrics: []string{"heart_rate"}, Deny: true, Yes: true,
			From: "482136", Until: "582160", Out: filepath.Join(t.TempDir(), "consent.json"),
		}
		if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "Nothing was signed") {
			t.Errorf("ledger time %d: %v", said, err)
		}
		if _, err := os.Stat(c.Out); err == nil {
			t.Errorf("ledger time %d: it was signed", said)
		}
	}
}
