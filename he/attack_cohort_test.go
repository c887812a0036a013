package he

import (
	"bytes"
	"errors"
	"math/big"
	"slices"
	"testing"

	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
)

// opens reports whether a sum opens to something with these shares.
func opens(p *Params, slot int, sum *Sum, shares map[int][]byte) (privacy.Totals, bool) {
	opened, err := p.Open(sum, shares)
	if err != nil {
		return privacy.Totals{}, false
	}
	totals, err := p.Schema().Decode(slot, opened)
	return totals, err == nil
}

// cohortWorld is eleven devices with one row each.
func cohortWorld(t *testing.T, p *Params, w Window) (devices []*testDevice, rows [][]byte) {
	t.Helper()
	for i := range 11 {
		d := fixedDevice(t, p, i)
		devices = append(devices, d)
		rows = append(rows, d.seal(t, p, testContext, w, smallRow(t, p, 60, int64(10*i))))
	}
	return devices, rows
}

// TestAttackRetryWithAnotherActiveSet: an asker who repeats a query with other
// members, hoping for other floods, gets the same bytes. Each member works from the
// seeds that it opened itself, with a cache of its own and in an order of its own.
func TestAttackRetryWithAnotherActiveSet(t *testing.T) {
	p := defaultParams(t)
	list, keys := members(t)
	windows := []Window{{5, 0}, {6, 0}}
	var blobs [][]byte
	var devices []*testDevice
	for range 11 {
		d := newTestDevice(t, p, testContext)
		blob, err := p.SealSeeds(testContext, d.id, d.seeds, list)
		if err != nil {
			t.Fatal(err)
		}
		devices, blobs = append(devices, d), append(blobs, blob)
	}
	plan, err := p.Schema().Plan(0, 2, 500_000)
	if err != nil {
		t.Fatal(err)
	}
	sent := map[int][]byte{} // by piece
	for member := range list {
		own := defaultParams(t)
		sums := map[int]KeySum{}
		for _, piece := range own.Sharing().Held(member) {
			sums[piece] = own.NewKeySum()
		}
		for i := range devices {
			d := devices[(i*(member+2)+member)%len(devices)]
			at := slices.Index(devices, d)
			seeds, err := own.OpenSeeds(testContext, d.id, member, list[member], keys[member], blobs[at], seedHashes(own, d))
			if err != nil {
				t.Fatal(err)
			}
			for piece, s := range seeds {
				if err := sums[piece].Add(own.Expand(testContext, d.id, piece, s)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for piece, sum := range sums {
			groups := []KeyGroup{{windows, sum}}
			if member == 2 { // by hour, and backwards
				groups = []KeyGroup{{windows[1:], sum}, {windows[:1], sum}}
			}
			share := shareOf(t, own, piece, 0, groups, 22, plan)
			if other, ok := sent[piece]; ok && !bytes.Equal(share, other) {
				t.Errorf("member %d sends another share of piece %d", member, piece)
			}
			sent[piece] = share
		}
	}
	if len(sent) != 3 {
		t.Errorf("%d pieces were shared", len(sent))
	}
}

// TestAttackCachesThatDifferByOneDevice: the holders of a piece have cohorts that
// differ by one device. Their shares have nothing in common but their difference in
// key, behind two whole floods; and an answer made with the wrong one does not open,
// neither for the larger nor for the smaller cohort.
func TestAttackCachesThatDifferByOneDevice(t *testing.T) {
	p := defaultParams(t)
	w := Window{Hour: 5}
	devices, rows := cohortWorld(t, p, w)
	all, fewer := groupsOf(t, p, devices, w), groupsOf(t, p, devices[1:], w)
	shares := allShares(t, p, 0, all, 11, nil)
	if _, ok := opens(p, 0, sumOf(t, p, 0, rows), shares); !ok {
		t.Fatal("the cohort does not open with its own shares")
	}
	stale := shareOf(t, p, 1, 0, fewer[1], 11, nil)
	for name, sum := range map[string]*Sum{"all rows": sumOf(t, p, 0, rows), "the rows of the fewer": sumOf(t, p, 0, rows[1:])} {
		mixed := map[int][]byte{0: shares[0], 1: stale, 2: shares[2]}
		if totals, ok := opens(p, 0, sum, mixed); ok {
			t.Errorf("%s open with a share of another cohort: %+v", name, totals)
		}
	}
	// What the victim's piece would give without floods, and what the difference of
	// the two shares gives.
	victim := vectorOf(t, p, devices[0], 1, 0, w)
	a, _ := p.unpack(shares[1], 6)
	b, _ := p.unpack(stale, 6)
	for j := range 6 {
		left := make([]uint64, 4)
		for l, q := range p.profile.Primes {
			i := 4*j + l
			left[l] = (a[i] + q - b[i] + q - victim.residues[i]) % q
		}
		if size := centred(p, left).BitLen(); size < p.profile.FloodBits-20 || size > p.profile.FloodBits+1 {
			t.Errorf("coefficient %d: 2^%d lie between the shares' difference and the victim's key", j, size)
		}
	}
}

// TestAttackForeignCohort: shares of one cohort open the sum of no other: fewer,
// more, others as many, or a row of one device counted twice in the place of
// another's.
func TestAttackForeignCohort(t *testing.T) {
	p := defaultParams(t)
	w := Window{Hour: 5}
	devices, rows := cohortWorld(t, p, w)
	stranger := newTestDevice(t, p, testContext)
	strange := stranger.seal(t, p, testContext, w, smallRow(t, p, 60, 0))
	shares := allShares(t, p, 0, groupsOf(t, p, devices, w), 11, nil)
	for name, other := range map[string][][]byte{
		"one fewer":               rows[1:],
		"one more":                append(slices.Clone(rows), strange),
		"a stranger in the place": append(slices.Clone(rows[1:]), strange),
		"one twice":               append(slices.Clone(rows), rows[3]),
		"one twice for another":   append(slices.Clone(rows[1:]), rows[3]),
	} {
		if totals, ok := opens(p, 0, sumOf(t, p, 0, other), shares); ok {
			t.Errorf("%s: opened %+v", name, totals)
		}
	}
	if totals, ok := opens(p, 0, sumOf(t, p, 0, rows), shares); !ok || totals.N != 660 {
		t.Errorf("the cohort itself opens to %+v (%v)", totals, ok)
	}
}

// TestAttackOversizedRow: however long it is, a row costs the comparison of a length.
func TestAttackOversizedRow(t *testing.T) {
	p := defaultParams(t)
	columns, err := p.Columns(p.Schema().MetricCoefficients(0))
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{p.RowBytes() + 1, 2 * p.RowBytes(), 1 << 24} {
		huge := make([]byte, size)
		sum := sumOf(t, p, 0, nil)
		if testing.AllocsPerRun(1, func() { _ = p.CheckRow(huge) }) > 10 {
			t.Errorf("checking %d bytes allocates more than an error", size)
		}
		_, appended := columns.Append(nil, huge)
		for _, err := range []error{p.CheckRow(huge), sum.Add(huge), appended} {
			if !errors.Is(err, ErrMalformed) || sum.Rows() != 0 {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
	}
}

// TestAttackDifferentSeedsForTwoHolders: a device that sends the holders of a piece
// different seeds would make their shares differ and honest members accuse each
// other. One hash is on the ledger; the holder whose seed does not match refuses to
// acknowledge, and a device that not all have acknowledged is in no cohort.
func TestAttackDifferentSeedsForTwoHolders(t *testing.T) {
	p := defaultParams(t)
	list, keys := members(t)
	d := newTestDevice(t, p, testContext)
	honest, err := p.SealSeeds(testContext, d.id, d.seeds, list)
	if err != nil {
		t.Fatal(err)
	}
	others := []Seed{NewSeed(), NewSeed(), NewSeed()}
	different, err := p.SealSeeds(testContext, d.id, others, list)
	if err != nil {
		t.Fatal(err)
	}
	box := opening.BoxBytes
	for i := range 6 {
		mixed := slices.Clone(honest)
		from := opening.BlobBytes(i)
		copy(mixed[from:from+box], different[from:from+box])
		refused := 0
		for m, key := range keys {
			if _, err := p.OpenSeeds(testContext, d.id, m, list[m], key, mixed, seedHashes(p, d)); errors.Is(err, ErrBox) {
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if refused != 1 {
			t.Errorf("box %d: %d members refuse, want the one that got the other seed", i, refused)
		}
	}
}

// TestAttackShareAlteredByOneHolder: random changes make nonsense that does not
// open. A holder that knows the scheme adds a payload to its share instead: that
// opens, to a wrong sum. So the other holder of the piece is asked as well: honest
// bytes are a function of what both know, and the altered ones differ from them.
func TestAttackShareAlteredByOneHolder(t *testing.T) {
	p := defaultParams(t)
	w := Window{Hour: 5}
	devices, rows := cohortWorld(t, p, w)
	groups := groupsOf(t, p, devices, w)
	shares := allShares(t, p, 0, groups, 11, nil)
	honest, _ := opens(p, 0, sumOf(t, p, 0, rows), shares)
	residues, err := p.unpack(shares[1], 6)
	if err != nil {
		t.Fatal(err)
	}
	noise := slices.Clone(residues)
	for i := range noise {
		noise[i] = (noise[i] + 1<<40 + uint64(i)) % p.profile.Primes[i%4]
	}
	if totals, ok := opens(p, 0, sumOf(t, p, 0, rows), map[int][]byte{0: shares[0], 1: p.pack(noise), 2: shares[2]}); ok {
		t.Errorf("a share with random changes opens to %+v", totals)
	}
	lie, err := p.Schema().Encode(0, privacy.HourStats{N: 60, Sum: 60, SumSq: 60, Buckets: [privacy.Buckets]int64{3: 60}})
	if err != nil {
		t.Fatal(err)
	}
	chosen := slices.Clone(residues)
	p.addPayloads(lie, chosen)
	altered := p.pack(chosen)
	totals, ok := opens(p, 0, sumOf(t, p, 0, rows), map[int][]byte{0: shares[0], 1: altered, 2: shares[2]})
	if !ok || totals.N != honest.N+60 {
		t.Errorf("a chosen change opens to %+v (%v): this attack should shift the answer", totals, ok)
	}
	if witness := shareOf(t, defaultParams(t), 1, 0, groups[1], 11, nil); bytes.Equal(witness, altered) || !bytes.Equal(witness, shares[1]) {
		t.Error("the other holder's share does not expose the altered one")
	}
	if err := p.CheckRow(altered); err == nil {
		t.Error("a share passes as a row")
	}
}

// TestAttackRowInTheClear: rows of all devices, empty or full, look uniform modulo
// each prime to whoever has no piece; that is also what hides empty hours.
func TestAttackRowInTheClear(t *testing.T) {
	p := defaultParams(t)
	var values []*big.Int
	for i := range 60 {
		d := fixedDevice(t, p, i)
		row, err := p.seal(d.key, Window{Hour: 5}, smallRow(t, p, int64(i%2)*60, 0), prf(testKeys[0][:], record.SumID([]byte{byte(i)}), "test"))
		if err != nil {
			t.Fatal(err)
		}
		residues, err := p.unpack(row, p.schema.Coefficients())
		if err != nil {
			t.Fatal(err)
		}
		for j := range p.schema.Coefficients() {
			// Q is 2^212 less a part in 2^37, so its top bits are even.
			values = append(values, centred(p, residues[4*j:4*j+4]))
		}
	}
	uniform(t, values, 211)
}
