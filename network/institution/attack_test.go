package institution

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/institution/column"
	"github.com/vitalveil/vitalveil/network/institution/share"
)

// agreedQuery makes a query of hospital A and waits until every member has seen
// it agreed, without asking for shares.
func (w *world) agreedQuery(study string) string {
	w.Helper()
	res := w.submit(hospitalA, contracts.QueryAsk, w.ask(study, 0))
	w.everywhere("query agreed", func(in *Institution) bool {
		q, err := in.Index().Query(res.TxID)
		return err == nil && q.Status == record.QueryAgreed
	})
	return res.TxID
}

// getShare calls a member as another one.
func (w *world) getShare(from, to int, query string, attempt int) (*share.GetShareResponse, error) {
	w.Helper()
	p, err := newPeers(w.config(from))
	if err != nil {
		w.Fatal(err)
	}
	defer p.close()
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	return p.share(ctx, msps[to], query, attempt)
}

func settledWorld(t testing.TB, patients int) *world {
	w := newWorld(t)
	w.enrol(patients)
	w.measure()
	w.study("exact", true)
	return w
}

func TestAttackShareToNonAsker(t *testing.T) {
	w := settledWorld(t, 11)
	id := w.agreedQuery("exact")
	_, err := w.getShare(hospitalB, association, id, 0)
	wantFault(t, fault.Forbidden, err)
	_, err = w.getShare(association, hospitalB, id, 0)
	wantFault(t, fault.Forbidden, err)
	if _, err := w.getShare(hospitalA, hospitalB, id, 0); err != nil {
		t.Fatalf("the asker itself: %v", err)
	}
	outsider, err := network.NewCA("HospitalA")
	if err != nil {
		t.Fatal(err)
	}
	w.ids[hospitalA] = must(outsider.Issue("institution", "client"))
	if _, err := w.getShare(hospitalA, hospitalB, id, 0); err == nil {
		t.Fatal("a certificate of a made-up HospitalA gets shares")
	}
}

func TestAttackRepeatGivesSameBytes(t *testing.T) { bothUnits(t, 11, attackRepeatGivesSameBytes) }

func attackRepeatGivesSameBytes(t *testing.T, w *world) {
	id := w.agreedQuery("exact")
	first := must(proto.Marshal(must(w.getShare(hospitalA, hospitalB, id, 0))))
	killed := filepath.Join(w.dir, "killed") // the state as a power cut right after the answer leaves it
	copyTree(t, filepath.Join(w.dir, "1"), killed)
	again := must(proto.Marshal(must(w.getShare(hospitalA, hospitalB, id, 0))))
	if !bytes.Equal(first, again) {
		t.Error("the second answer differs from the first")
	}
	w.down(hospitalB)
	w.up(hospitalB)
	restarted := must(proto.Marshal(must(w.getShare(hospitalA, hospitalB, id, 0))))
	if !bytes.Equal(first, restarted) {
		t.Error("after a restart the answer differs")
	}
	w.down(hospitalB)
	w.up(hospitalB, func(c *Config) { c.Dir = killed })
	recovered := must(proto.Marshal(must(w.getShare(hospitalA, hospitalB, id, 0))))
	if !bytes.Equal(first, recovered) {
		t.Error("after a power cut the answer differs")
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if d.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAttackRetryWithOtherCohort(t *testing.T) { bothUnits(t, 13, attackRetryWithOtherCohort) }

func attackRetryWithOtherCohort(t *testing.T, w *world) {
	id := w.agreedQuery("exact")
	// Hospital B's share has left; then a patient revokes. A second share of a
	// smaller cohort would open that patient's readings.
	if _, err := w.getShare(hospitalA, hospitalB, id, 0); err != nil {
		t.Fatal(err)
	}
	w.revoke(w.patients[4])
	w.everywhere("query abandoned", func(in *Institution) bool {
		q, err := in.Index().Query(id)
		return err == nil && q.Status == record.QueryAbandoned
	})
	for attempt := range 3 {
		for _, m := range []int{hospitalB, association} {
			if _, err := w.getShare(hospitalA, m, id, attempt); err == nil {
				t.Errorf("%s gives a share for attempt %d", msps[m], attempt)
			}
		}
	}
	_, err := w.members[hospitalA].Fetch(t.Context(), id)
	wantFault(t, fault.Conflict, err)
	// What an abandoned exact query covered is not opened by another one.
	_, err = w.members[hospitalA].Ask(t.Context(), ask("exact", 0))
	wantFault(t, fault.TooFew, err)
}

// fetchWithout has a query of twelve answered at its second attempt, without the
// one who has left.
func (w *world) fetchWithout(id string, gone *person) {
	w.Helper()
	a, err := w.members[hospitalA].Fetch(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	if a.Attempt != 1 || a.Cohort != 11 {
		w.Errorf("attempt %d with %d patients, want attempt 1 with 11", a.Attempt, a.Cohort)
	}
	w.want(a, consortium.Add(w.truth, gone.device.Stats, -1))
}

func TestAttackRevocationBetweenQueryAndShare(t *testing.T) {
	w := settledWorld(t, 12)
	id := w.agreedQuery("exact")
	gone := w.patients[3]
	w.revoke(gone)
	w.fetchWithout(id, gone)
	_, err := w.getShare(hospitalA, hospitalB, id, 0)
	wantFault(t, fault.TooEarly, err)
	history, err := w.members[hospitalB].Index().History(gone.ID)
	if err != nil {
		t.Fatal(err)
	}
	last := history[len(history)-1]
	for _, e := range history {
		if e.Query != nil && e.Query.Included {
			t.Error("the patient's history says that the release includes them")
		}
	}
	if last.Consent == nil || last.Consent.Entry.Version != 2 {
		t.Errorf("the last entry of the history is %+v, want the revocation", last)
	}
}

func TestAttackTwoCohortsOpenedByDifferentMembers(t *testing.T) {
	w := settledWorld(t, 13)
	id := w.agreedQuery("exact")
	// Hospital B opens the whole cohort and is then cut off, so that it cannot
	// abandon the query. A patient revokes; the others agree on the rest.
	if _, err := w.getShare(hospitalA, hospitalB, id, 0); err != nil {
		t.Fatal(err)
	}
	w.down(hospitalB)
	w.revoke(w.patients[4])
	w.everywhere("second cohort agreed", func(in *Institution) bool {
		q, err := in.Index().Query(id)
		return err == nil && q.Status == record.QueryAgreed && q.Attempt == 1
	})
	w.members[association].cfg.Patience = 300 * time.Millisecond
	_, err := w.getShare(hospitalA, association, id, 1)
	wantFault(t, fault.Unavailable, err)
	if !strings.Contains(err.Error(), "HospitalB must confirm") {
		t.Errorf("the refusal does not say what is missing: %v", err)
	}
	w.up(hospitalB) // and ends the query as soon as it can
	w.everywhere("query abandoned", func(in *Institution) bool {
		q, err := in.Index().Query(id)
		return err == nil && q.Status == record.QueryAbandoned
	})
}

func TestAttackMemberThatLagsGivesNoShare(t *testing.T) {
	w := settledWorld(t, 11)
	id := w.agreedQuery("exact")
	w.down(hospitalB)
	// The peer has blocks that the index has not read: one might revoke.
	w.up(hospitalB, func(c *Config) {
		c.Height = func(context.Context) (uint64, error) { return w.Ledger.Height() + 1000, nil }
		c.Patience = 200 * time.Millisecond
	})
	_, err := w.getShare(hospitalA, hospitalB, id, 0)
	wantFault(t, fault.Unavailable, err)
}

// liar serves a member's shares after change had its way with them.
type liar struct {
	share.UnimplementedInstitutionsServer
	in     *Institution
	change func(*share.GetShareResponse, record.QueryState)
	probe  func(*share.GetProbeResponse)
}

func (l liar) GetProbe(ctx context.Context, req *share.GetProbeRequest) (*share.GetProbeResponse, error) {
	r, err := (shareServer{in: l.in}).GetProbe(ctx, req)
	if err == nil && l.probe != nil {
		l.probe(r)
	}
	return r, err
}

func (l liar) GetShare(ctx context.Context, req *share.GetShareRequest) (*share.GetShareResponse, error) {
	caller, err := callerMSP(ctx)
	if err != nil {
		return nil, err
	}
	r, err := l.in.answerer.answer(ctx, caller, req.GetQuery(), int(req.GetAttempt()))
	if err != nil {
		return nil, toStatus(err)
	}
	q, err := l.in.index.Query(req.GetQuery())
	if err != nil {
		return nil, toStatus(err)
	}
	r = proto.Clone(r).(*share.GetShareResponse)
	l.change(r, q)
	return r, nil
}

// corrupt replaces a member's server by a liar that has its keys.
func (w *world) corrupt(member int, change func(*share.GetShareResponse, record.QueryState)) {
	w.Helper()
	w.replace(member, liar{change: change})
}

// corruptProbes is corrupt for a member that lies about probes.
func (w *world) corruptProbes(member int, change func(*share.GetProbeResponse)) {
	w.Helper()
	w.replace(member, liar{change: func(*share.GetShareResponse, record.QueryState) {}, probe: change})
}

func (w *world) replace(member int, with liar) {
	w.Helper()
	w.down(member)
	l := w.listen(w.peers[msps[member]])
	in := w.up(member, func(c *Config) { c.Listen = w.listen("127.0.0.1:0") })
	tls := must(network.ServerTLS(w.ids[member], w.roots))
	srv := grpc.NewServer(grpc.Creds(credentials.NewTLS(tls)))
	with.in = in
	share.RegisterInstitutionsServer(srv, with)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(l); err != nil {
			w.Error(err)
		}
	}()
	w.Cleanup(func() { srv.Stop(); <-done })
}

// forge replaces the share of one piece by another one that is signed and sealed
// as it should be.
func (w *world) forge(member, piece int) func(*share.GetShareResponse, record.QueryState) {
	return func(r *share.GetShareResponse, q record.QueryState) {
		share := bytes.Repeat([]byte{1}, w.Params.ShareBytes(6))
		if w.daily {
			share = bytes.Repeat([]byte{1}, w.Params.ShareBytes(privacy.PersonCoefficients))
		}
		st := record.ShareStatement{Member: msps[member], Query: q.ID, Attempt: q.Attempt, Root: q.Root, Block: r.CheckedBlock}
		for _, s := range r.Shares {
			if int(s.Piece) == piece {
				s.Sealed = must(he.SealBox(w.Boxes[msps[hospitalA]].Share.Public(), purposeShare, boxBinding(networkName, q, msps[member], piece), share))
				s.Hash = record.SumID(share).String()
			}
			st.Pieces = append(st.Pieces, record.StatedPiece{Piece: int(s.Piece), Hash: must(record.ParseID(s.Hash))})
		}
		r.Signature = consortium.Sign(w.Keys[msps[member]], st.Digest(networkName))
	}
}

func TestAttackAlteredShareIsAttributed(t *testing.T) {
	bothUnits(t, 11, attackAlteredShareIsAttributed)
}

func attackAlteredShareIsAttributed(t *testing.T, w *world) {
	w.corrupt(hospitalB, w.forge(hospitalB, 0))
	_, err := w.members[hospitalA].Ask(t.Context(), w.ask("exact", 0))
	wantFault(t, fault.Conflict, err)
	var d *Dispute
	if !errors.As(err, &d) {
		t.Fatalf("no dispute in %v", err)
	}
	if d.Piece != 0 || len(d.Copies) != 2 || d.Copies[0].Member != msps[hospitalB] || d.Copies[1].Member != msps[association] {
		t.Fatalf("dispute about piece %d with %d copies", d.Piece, len(d.Copies))
	}
	for _, c := range d.Copies { // anybody can check whose bytes they were
		r := &share.GetShareResponse{}
		if err := proto.Unmarshal(c.Answer, r); err != nil {
			t.Fatal(err)
		}
		st := record.ShareStatement{Member: c.Member, Query: d.Query, Attempt: d.Attempt, Root: must(record.ParseID(r.Root)), Block: r.CheckedBlock}
		signed := false
		for _, s := range r.Shares {
			hash := must(record.ParseID(s.Hash))
			st.Pieces = append(st.Pieces, record.StatedPiece{Piece: int(s.Piece), Hash: hash})
			signed = signed || int(s.Piece) == d.Piece && hash == record.SumID(c.Share)
		}
		member := 1
		if c.Member == msps[association] {
			member = association
		}
		if err := record.Verify(w.Genesis.Members[member].SignKey, st.Digest(networkName), r.Signature); err != nil || !signed {
			t.Errorf("the evidence against %s does not hold: %v", c.Member, err)
		}
	}
	q, err := w.members[hospitalA].Index().Query(d.Query)
	if err != nil || q.Status != record.QueryAgreed {
		t.Errorf("the query is %s: nothing must be released (%v)", q.Status, err)
	}
}

func TestAttackAlteredShareOfOwnPieceIsNoticed(t *testing.T) {
	w := settledWorld(t, 11)
	w.corrupt(hospitalB, w.forge(hospitalB, 2))
	_, err := w.members[hospitalA].Ask(t.Context(), ask("exact", 0))
	var d *Dispute
	if !errors.As(err, &d) || d.Piece != 2 || d.Copies[0].Member != msps[hospitalA] {
		t.Fatalf("got %v, want a dispute about piece 2 with this member's own share", err)
	}
}

func TestAttackAlteredShareWithoutAWitnessOpensNothing(t *testing.T) {
	w := settledWorld(t, 11)
	w.corrupt(hospitalB, w.forge(hospitalB, 0))
	w.down(association)
	_, err := w.members[hospitalA].Ask(t.Context(), ask("exact", 0))
	wantFault(t, fault.Conflict, err)
	if !strings.Contains(err.Error(), "piece 0, of HospitalB") {
		t.Errorf("the error does not name whose share nobody confirmed: %v", err)
	}
}

func TestAttackAnswerThatIsNotTheMembers(t *testing.T) {
	w := settledWorld(t, 11)
	lies := map[string]func(*share.GetShareResponse, record.QueryState){
		"signature":   func(r *share.GetShareResponse, _ record.QueryState) { r.Signature[5] ^= 1 },
		"other query": func(r *share.GetShareResponse, _ record.QueryState) { r.Query = strings.Repeat("0", 64) },
		"other root":  func(r *share.GetShareResponse, _ record.QueryState) { r.Root = record.SumID(nil).String() },
		"other block": func(r *share.GetShareResponse, _ record.QueryState) { r.CheckedBlock += 100 },
		"other hash":  func(r *share.GetShareResponse, _ record.QueryState) { r.Shares[0].Hash = record.SumID(nil).String() },
		"swapped": func(r *share.GetShareResponse, _ record.QueryState) {
			r.Shares[0], r.Shares[1] = r.Shares[1], r.Shares[0]
		},
		"a piece less": func(r *share.GetShareResponse, _ record.QueryState) {
			r.Shares = r.Shares[:1]
		},
		"sealed bytes": func(r *share.GetShareResponse, _ record.QueryState) { r.Shares[1].Sealed[40] ^= 1 },
	}
	id := w.agreedQuery("exact")
	q, err := w.members[hospitalA].Index().Query(id)
	if err != nil {
		t.Fatal(err)
	}
	honest := must(w.getShare(hospitalA, hospitalB, id, 0))
	in := w.members[hospitalA]
	if _, err := in.open(q, hospitalB, honest); err != nil {
		t.Fatal(err)
	}
	for name, lie := range lies {
		r := proto.Clone(honest).(*share.GetShareResponse)
		lie(r, q)
		if _, err := in.open(q, hospitalB, r); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	// Signed as it should be, but sealed is another share than the signed one:
	// as evidence it would be worth nothing.
	r := proto.Clone(honest).(*share.GetShareResponse)
	box := must(he.SealBox(w.Boxes[msps[hospitalA]].Share.Public(), purposeShare, boxBinding(networkName, q, msps[hospitalB], 0), make([]byte, w.Params.ShareBytes(6))))
	r.Shares[0].Sealed = box
	if _, err := in.open(q, hospitalB, r); err == nil {
		t.Error("a share is accepted that its member has not signed for")
	}
	if _, err := in.open(q, association, honest); err == nil {
		t.Error("hospital B's answer is accepted as another member's")
	}
}

func TestAttackRowNotMatchingPointer(t *testing.T) {
	w := settledWorld(t, 11)
	w.check(w.members[hospitalA].clearColumns()) // so that the asker reads blobs
	// The store gives the asker other bytes once the members have vouched.
	var blob record.ID
	w.blobs.Mu.Lock()
	for id, data := range w.blobs.Data {
		if device, rows, err := record.DecodeRows(data); err == nil && device == w.patients[2].device.ID {
			blob = id
			row := append([]byte(nil), rows[0].Row...)
			row[3] ^= 1
			rows[0].Row = row
			w.blobs.Data[id] = must(record.EncodeRows(device, rows))
		}
	}
	w.blobs.Mu.Unlock()
	_, err := w.members[hospitalA].Ask(t.Context(), ask("exact", 0))
	if err == nil || !strings.Contains(err.Error(), blob.Short()) {
		t.Fatalf("got %v, want a refusal that names blob %s", err, blob.Short())
	}
}

func TestAttackRowThatMembersVouchedForWronglyIsRefused(t *testing.T) {
	w := settledWorld(t, 11)
	in := w.members[hospitalA]
	c, err := in.index.Eligible(msps[hospitalA], "HRESCH", true, ask("", 0))
	if err != nil {
		t.Fatal(err)
	}
	work := must(in.rows.work(c, must(column.Want(in.params, c.Members, in.numbers))))
	changes := map[string]func(*piecework){
		"other commitment": func(p *piecework) { p.rows[1].Commitment = record.RandomID() },
		"missing hour":     func(p *piecework) { p.rows[1].Hour += 100 },
		"other device":     func(p *piecework) { p.device = record.RandomID() },
		"not a rows blob":  func(p *piecework) { p.blob = w.put([]byte("vvrows/1 but no more")) },
	}
	coeffs := w.Params.Schema().MetricCoefficients(0)
	for name, change := range changes {
		p := work[0]
		p.rows = append([]index.CohortRow(nil), p.rows...)
		change(&p)
		if _, err := in.rows.addBlob(t.Context(), in.hours, must(w.Params.NewSum(coeffs)), p); err == nil {
			t.Errorf("%s: added", name)
		}
	}
	if _, err := in.rows.addBlob(t.Context(), in.hours, must(w.Params.NewSum(coeffs)), work[0]); err != nil {
		t.Errorf("the rows as they are: %v", err)
	}
}

func TestAttackSecondCohortAfterAnAnswerIsRefusedEvenIfAgreed(t *testing.T) {
	w := settledWorld(t, 11)
	id := w.agreedQuery("exact")
	if _, err := w.getShare(hospitalA, hospitalB, id, 0); err != nil {
		t.Fatal(err)
	}
	in := w.members[hospitalB]
	q, err := in.index.Query(id)
	if err != nil {
		t.Fatal(err)
	}
	q.Attempt, q.Root = 1, record.RandomID() // as if all others had agreed on it
	wantFault(t, fault.Conflict, in.fresh(q))
}

func TestAttackRowThatIsNotCommittedNeverCounts(t *testing.T) {
	w := newWorld(t)
	w.enrol(12)
	w.Tick((firstHour + dayHours) * 3600)
	var pointers []record.SignedPointer
	for i, p := range w.patients {
		pointers = append(pointers, w.upload(i, p)...)
	}
	bad := &pointers[0] // a device signs for a row that its blob does not carry
	bad.Pointer.Commitment = record.RandomID()
	bad.Signature = consortium.Sign(w.patients[0].device.Key, bad.Pointer.Digest(networkName))
	w.submit(hospitalA, contracts.PointerAnchor, record.Anchor{Pointers: pointers})
	w.everywhere("rows available", func(in *Institution) bool { return in.Index().Counts().Available == len(pointers)-1 })
	c, err := w.members[hospitalA].Index().Eligible(msps[hospitalA], "HRESCH", true, ask("", 0))
	if err != nil {
		t.Fatal(err)
	}
	if c.Size != 12 || c.Rows != int64(len(pointers)-1) {
		t.Errorf("%d patients with %d rows count, want 12 with %d", c.Size, c.Rows, len(pointers)-1)
	}
}

// TestAttackPointersThatNoDeviceSigned: a member vouches for no row of a pointer that
// the ledger's operator has made up, nor for a batch that has other pointers than its
// name says.
func TestAttackPointersThatNoDeviceSigned(t *testing.T) {
	w := settledWorld(t, 2)
	in := w.members[hospitalB]
	good := in.Index().Batches(0)[0]
	all := bytes.Repeat([]byte{255}, 1)
	bitmap, _ := in.attester.inspect(t.Context(), good, nil)
	if bitmap[0]&1 == 0 {
		t.Fatalf("an honest batch: %08b", bitmap)
	}
	unsigned := good
	unsigned.Signatures = slices.Clone(good.Signatures)
	unsigned.Signatures[0] = bytes.Repeat(all, 64)
	if bitmap, _ := in.attester.inspect(t.Context(), unsigned, nil); bitmap[0]&1 != 0 {
		t.Error("it vouches for a row that no device has signed for")
	}
	other := good
	other.Pointers = slices.Clone(good.Pointers)
	other.Pointers[0].Index++
	if bitmap, _ := in.attester.inspect(t.Context(), other, nil); !isZero(bitmap) {
		t.Errorf("it vouches for another batch: %08b", bitmap)
	}
}
