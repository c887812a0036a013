package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/site"
	"github.com/vitalveil/vitalveil/zk"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// consortiumSite is what a transcript's "site" commands stand for: the real contracts on
// the embedded ledger behind a real gateway, and three members that do as they are told.
type consortiumSite struct {
	*consortium.Consortium
	ts    *testscript.TestScript
	index *index.Index
	end   func()
	seen  int // batches that were found available
}

type siteKey struct{}

// siteCommand is "site up [claims] | tick UNIX | enrol REQUEST PERSON | acknowledge |
// available | ask PATIENT LOW HIGH | forget | down".
func siteCommand(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) == 0 {
			ts.Fatalf("site is never refused")
		}
		if args[0] == "up" {
			siteUp(t, ts, len(args) > 1)
			return
		}
		s, ok := ts.Value(siteKey{}).(**consortiumSite)
		if !ok || *s == nil {
			ts.Fatalf("no site is up")
		}
		(*s).do(args[0], args[1:])
	}
}

func siteUp(t *testing.T, ts *testscript.TestScript, claims bool) {
	s := &consortiumSite{ts: ts, index: index.New()}
	s.Consortium = consortium.New(t, func(g *record.Genesis) {
		if claims {
			keys, err := zk.LoadKeys(ts.MkAbs("keys"), "day", nil)
			ts.Check(err)
			g.Circuits = []record.Circuit{keys.Circuit()}
		}
	})
	s.Open(filepath.Join(t.TempDir(), "ledger")) // it outlives the transcript
	s.Begin()
	d := record.Descriptor{Genesis: s.Genesis, Roots: map[string][]byte{}}
	for _, msp := range consortium.MSPs {
		d.Roots[msp] = consortium.Authority(msp).RootPEM()
	}
	ts.Check(site.Save(ts.MkAbs("network.json"), d))
	s.index.OpenWith(s.Details)
	blobs, err := blob.Open(ts.MkAbs("blobs"))
	ts.Check(err)
	gw, err := gateway.New(gateway.Config{
		Genesis: s.Genesis, Client: s.Clients[consortium.Association], Blobs: blobs, Dir: ts.MkAbs("gateway"), Index: s.index,
	})
	ts.Check(err)
	l, err := net.Listen("tcp", ts.Getenv("GATEWAY"))
	ts.Check(err)
	follow := consortium.Run(t, func(ctx context.Context) error {
		for b, err := range s.Clients[consortium.Association].Blocks(ctx, 0) {
			if err == nil {
				err = s.index.Apply(b)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}, nil)
	serve := consortium.Run(t, func(ctx context.Context) error { return gw.Serve(ctx, l) }, func() error {
		return errors.Join(gw.Close(), blobs.Close())
	})
	s.end = func() { serve(); follow() }
	*ts.Value(siteKey{}).(**consortiumSite) = s
	ts.Defer(s.end)
}

func (s *consortiumSite) do(what string, args []string) {
	switch what {
	case "tick":
		unix, err := strconv.ParseInt(args[0], 10, 64)
		s.ts.Check(err)
		s.Tick(unix)
	case "enrol":
		s.enrol(args[0], args[1])
	case "acknowledge":
		s.acknowledge()
	case "available":
		s.available()
	case "ask":
		s.ask(args)
	case "forget":
		s.forget()
	default:
		s.ts.Fatalf("site does not know %q", what)
	}
}

// enrol has the association vouch for a person.
func (s *consortiumSite) enrol(file, person string) {
	var r record.PatientRequest
	s.ts.Check(site.Load(s.ts.MkAbs(file), &r))
	s.ts.Check(consent.VerifyRequest(s.Genesis.Network, s.Genesis.RelyingParties, r))
	private, err := s.Boxes[consortium.Association].Detail.Bytes()
	s.ts.Check(err)
	ref := details.Ref{Patient: r.Patient(), Digest: r.Enrolment.Inception.DetailsKey, Blob: r.Enrolment.DetailsBlob}
	key, err := details.OpenBox(s.Genesis.Network, ref, consortium.Association, private, r.Boxes)
	s.ts.Check(err)
	s.Details.Hold(ref.Digest, key)
	e := r.Enrolment
	e.Voucher = record.Voucher{Patient: r.Patient(), Person: record.SumID([]byte(person))}
	digest := record.Digest(record.DomainVoucher, s.Genesis.Network, e.Voucher)
	e.Vouchers = []record.VoucherSignature{{By: consortium.Association, Signature: consortium.Sign(s.Keys[consortium.Association], digest)}}
	c := api.NewClient("http://"+s.ts.Getenv("GATEWAY"), s.Genesis.Network, nil)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	op, err := c.EnrolPatient(ctx, e, r.Boxes)
	s.ts.Check(err)
	_, err = c.Wait(ctx, op)
	s.ts.Check(err)
}

// acknowledge has all members hold the seeds of all devices.
func (s *consortiumSite) acknowledge() {
	for _, d := range s.index.Devices(0) {
		for _, msp := range consortium.MSPs {
			s.Must(msp, contracts.RegistryAcknowledgeSeeds, record.AcknowledgeSeeds{Devices: []record.ID{d.ID}})
		}
	}
}

// available has two members find all that was sent since the last time.
func (s *consortiumSite) available() {
	for _, b := range s.index.Batches(s.seen) {
		n := len(b.Pointers)
		bitmap := make([]byte, (n+7)/8)
		for i := range n {
			bitmap[i/8] |= 1 << (i % 8)
		}
		for _, msp := range consortium.MSPs[:2] {
			s.Must(msp, contracts.PointerAvailable, record.Available{Posts: []record.SignedAvailable{s.Available(msp, b.ID, n, bitmap...)}})
		}
		s.seen++
	}
}

// ask has a hospital ask whether 10 minutes of a patient's first day lie within a range of
// heart rates.
func (s *consortiumSite) ask(args []string) {
	text, err := os.ReadFile(s.ts.MkAbs(args[0]))
	s.ts.Check(err)
	patient, err := record.ParseID(strings.TrimSpace(string(text)))
	s.ts.Check(err)
	b := verifier.Unbounded()
	lo, err := strconv.Atoi(args[1])
	s.ts.Check(err)
	hi, err := strconv.Atoi(args[2])
	s.ts.Check(err)
	b.Lo, b.Hi, b.K, b.MinCount = uint32(lo), uint32(hi), 10, 10
	s.Ask(consortium.HospitalA, record.AskPredicate{
		Patient: patient, Purpose: "HRESCH", Class: "day", Metric: "heart_rate", FirstDay: consortium.StartDay, Bounds: b, Nonce: record.RandomID(),
	})
}

// forget has all members delete what is erased, and sign that.
func (s *consortiumSite) forget() {
	consortium.Eventually(s, 10*time.Second, "the erasure is in the index", func() bool { return len(s.index.Erasures(0)) > 0 })
	for _, r := range s.index.Erasures(0) {
		e := r.State.Signed.Erasure
		for _, msp := range consortium.MSPs {
			s.Must(msp, contracts.RegistryReportErasure, s.SignReport(record.ErasureReport{
				Patient: e.Patient, Erasure: e.Digest(s.Genesis.Network), Member: msp, Devices: r.State.Devices, Seeds: 2 * len(r.State.Devices),
			}))
		}
	}
}
