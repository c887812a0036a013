package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/vitalveil/vitalveil/bridge"
	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// checker holds what the ledger says, by kind, and what was found wrong.
type checker struct {
	places  places
	genesis record.Genesis
	roots   map[string][]byte
	params  map[string]*he.Params // by profile: what a row looks like depends on nothing else
	schema  *privacy.Schema
	blobs   *blob.Store
	index   *index.Index
	keyring memberKeys
	unread  int // versions of consents for which no key is here

	patients  map[record.ID]record.Patient
	changes   []rekeyed // of patients' keys, in ledger order
	devices   map[record.ID]record.DeviceState
	versions  []version                    // in ledger order
	erased    map[record.ID]record.Patient // as they were before
	anchored  []record.PointerState
	batched   []record.Batch
	posted    map[string]record.SignedAvailable
	derived   []record.CohortState
	epochs    map[uint32]record.EpochState
	pieceKeys map[string]record.PieceKeyState // by their keys in the state
	requests  map[string]request
	queries   map[string]record.QueryState
	rows      map[carried]map[place]record.ID // rows of the blob read last
	blocks    map[record.ID]uint64            // numbers, by hash
	recorded  map[string]uint64               // blocks of valid transactions, by identifier

	unseen   int // closed requests whose details are not here
	failures []string
}

func newChecker(d record.Descriptor) *checker {
	return &checker{
		genesis: d.Genesis, roots: d.Roots, blocks: map[record.ID]uint64{}, recorded: map[string]uint64{},
		erased:   map[record.ID]record.Patient{},
		patients: map[record.ID]record.Patient{}, devices: map[record.ID]record.DeviceState{},
		queries: map[string]record.QueryState{},
		posted:  map[string]record.SignedAvailable{}, pieceKeys: map[string]record.PieceKeyState{}, requests: map[string]request{}, params: map[string]*he.Params{},
		epochs: map[uint32]record.EpochState{0: {Epoch: d.Genesis.FirstEpoch()}},
	}
}

func (c *checker) wrong(format string, args ...any) {
	c.failures = append(c.failures, fmt.Sprintf(format, args...))
}

// take notes what the valid transactions of a block wrote.
func (c *checker) take(b *network.Block) error {
	c.takeBlock(b)
	for _, tx := range b.Txs {
		for _, w := range tx.Writes {
			if err := c.takeWrite(w, tx.Private); err != nil {
				return fmt.Errorf("transaction %d: %w", tx.Index, err)
			}
		}
	}
	return nil
}

func (c *checker) takeWrite(w network.Write, private []network.PrivateWrite) error {
	kind, _, err := state.ParseKey(w.Key)
	if err != nil || w.Delete {
		return err
	}
	switch kind {
	case state.KindGenesis:
		return c.takeGenesis(w.Value)
	case state.KindLayout:
		_, err := state.ParseLayout(w.Value)
		return err
	case state.KindPatient:
		return into(w.Value, c.takePatient)
	case state.KindKeys:
		return into(w.Value, c.takeKeys)
	case state.KindErasure:
		return into(w.Value, c.takeErasure)
	case state.KindDevice:
		return into(w.Value, func(d record.DeviceState) { c.devices[d.ID] = d })
	case state.KindPieceKey:
		return into(w.Value, func(s record.PieceKeyState) { c.pieceKeys[w.Key] = s })
	case state.KindConsent:
		return c.takeVersion(w, private)
	case state.KindPointer:
		return into(w.Value, func(p record.PointerState) { c.anchored = append(c.anchored, p) })
	case state.KindBatch:
		return into(w.Value, func(b record.Batch) { c.batched = append(c.batched, b) })
	case state.KindAvailable:
		return into(w.Value, func(a record.SignedAvailable) { c.posted[w.Key] = a })
	case state.KindCohort:
		return into(w.Value, func(s record.CohortState) { c.derived = append(c.derived, s) })
	case state.KindEpoch:
		return into(w.Value, func(s record.EpochState) { c.epochs[s.Epoch.Number] = s })
	case state.KindQuery:
		return into(w.Value, func(q record.QueryState) { c.queries[q.ID] = q })
	case state.KindPredicate:
		return c.takeRequest(w, private)
	}
	return nil
}

func into[T any](value []byte, keep func(T)) error {
	var v T
	if err := json.Unmarshal(value, &v); err != nil {
		return err
	}
	keep(v)
	return nil
}

// takeGenesis holds the ledger's policy against the description.
func (c *checker) takeGenesis(value []byte) error {
	want, err := json.Marshal(c.genesis)
	if err != nil {
		return err
	}
	var got record.Genesis
	if err := json.Unmarshal(value, &got); err != nil {
		return err
	}
	have, err := json.Marshal(got)
	if err != nil {
		return err
	}
	if !bytes.Equal(want, have) {
		return errors.New("the ledger's genesis is not the one that network.json describes")
	}
	return nil
}

func (c *checker) enrolments(context.Context) int {
	for id, p := range c.patients {
		if p.Inception.PatientID(c.genesis.Network) != id {
			c.wrong("patient %s: the identifier is not the digest of the inception record", id)
		}
	}
	for id, d := range c.devices {
		if record.DeviceID(c.genesis.Network, d.Device.Key) != id {
			c.wrong("device %s: the identifier is not that of its key", id)
		}
		if _, ok := c.patients[d.Device.Patient]; !ok {
			c.wrong("device %s: its patient is not enrolled", id)
		}
	}
	return len(c.patients) + len(c.devices)
}

// pointers checks each pointer's signature and what it points to.
func (c *checker) pointers(ctx context.Context) int {
	for i, p := range c.anchored {
		if i%256 == 0 && ctx.Err() != nil {
			return i
		}
		ptr := p.Signed.Pointer
		name := fmt.Sprintf("pointer %s %s %d", ptr.Device.Short(), ptr.Kind, ptr.Index)
		if err := record.Verify(c.devices[ptr.Device].Device.Key, ptr.Digest(c.genesis.Network), p.Signed.Signature); err != nil {
			c.wrong("%s: %v", name, err)
		}
		if !ptr.Sealed() {
			if err := verifier.CheckRoot(ptr.Commitment); err != nil {
				c.wrong("%s: %v", name, err)
			}
			continue
		}
		if c.patients[c.devices[ptr.Device].Device.Patient].Erased {
			continue // its blobs are gone, which the erasures' check sees to
		}
		rows, err := c.blob(ctx, ptr.Device, ptr.Blob)
		if err != nil {
			c.wrong("%s: %v", name, err)
			continue
		}
		if got, ok := rows[placeOf(ptr)]; !ok || got != ptr.Commitment {
			c.wrong("%s: the blob %s does not carry this row", name, ptr.Blob)
		}
	}
	return len(c.anchored)
}

// blob reads a rows blob and checks every row in it. The last one is kept, as
// pointers into one blob stand together.
func (c *checker) blob(ctx context.Context, device, id record.ID) (map[place]record.ID, error) {
	if rows, ok := c.rows[carried{device, id}]; ok {
		return rows, nil
	}
	data, err := c.blobs.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", id, err)
	}
	owner, list, err := record.DecodeRows(data)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", id, err)
	}
	if owner != device {
		return nil, fmt.Errorf("blob %s is another device's", id)
	}
	params, err := c.paramsOf(c.devices[device].Device.Profile)
	if err != nil {
		return nil, err
	}
	rows := map[place]record.ID{}
	for _, r := range list {
		if err := checkRow(params, r); err != nil {
			return nil, fmt.Errorf("blob %s, hour %d: %w", id, r.Hour, err)
		}
		rows[place{r.Hour, r.Correction}] = record.SumID(r.Row)
	}
	c.rows = map[carried]map[place]record.ID{{device, id}: rows}
	return rows, nil
}

// carried is a blob as one device's.
type carried struct{ device, blob record.ID }

// place is where a row is in its blob.
type place struct {
	hour       int64
	correction uint8
}

func placeOf(p record.Pointer) place {
	hour, correction := p.Place()
	return place{hour, correction}
}

// checkRow checks the form of a row of an hour, or of a day.
func checkRow(params *he.Params, r record.BlobRow) error {
	if r.Correction != record.PersonDayMark {
		return params.CheckRow(r.Row)
	}
	if params.Day() == nil {
		return errors.New("a day row in a network of hours")
	}
	return params.Day().CheckRow(r.Row)
}

// batches checks each Merkle root over the pointers in leaf order.
func (c *checker) batches(context.Context) int {
	leaves := map[record.ID][]record.ID{}
	for _, p := range c.anchored {
		l := leaves[p.Batch]
		for len(l) <= p.Leaf && len(l) < record.MaxBatch {
			l = append(l, record.ID{})
		}
		if p.Leaf < 0 || p.Leaf >= len(l) {
			c.wrong("batch %s: a pointer has leaf %d", p.Batch, p.Leaf)
			continue
		}
		l[p.Leaf] = p.Signed.Pointer.Digest(c.genesis.Network)
		leaves[p.Batch] = l
	}
	for _, b := range c.batched {
		if l := leaves[b.Root]; len(l) != b.Count || record.Root(l) != b.Root {
			c.wrong("batch %s: its root is not that of its %d pointers", b.Root, b.Count)
		}
	}
	return len(c.batched)
}

func (c *checker) posts(context.Context) int {
	for _, a := range c.posted {
		if !c.signed(a) {
			c.wrong("availability of batch %s: it is not signed by %s", a.Post.Batch, a.Member)
		}
	}
	return len(c.posted)
}

// receipts makes every receipt that a bridge could be given, and checks it as
// the bridge does.
func (c *checker) receipts(ctx context.Context) int {
	n := 0
	for id := range c.devices {
		for _, kind := range []string{record.KindRow, record.KindPersonDay, record.KindDay} {
			n += c.receiptsOf(ctx, id, kind)
		}
	}
	return n
}

func (c *checker) receiptsOf(ctx context.Context, device record.ID, kind string) int {
	from, n := int64(-consent.MaxHour), 0
	for ctx.Err() == nil {
		page, err := c.index.Receipts(device, kind, from, consent.MaxHour)
		if err != nil {
			c.wrong("receipts of device %s: %v", device, err)
			return n
		}
		for _, r := range page {
			if err := bridge.VerifyReceipt(c.policyOf(device), r); err != nil {
				c.wrong("receipt of %s %s %d: %v", device.Short(), kind, r.Pointer.Pointer.Index, err)
			}
		}
		n += len(page)
		if len(page) == 0 {
			return n
		}
		from = page[len(page)-1].Pointer.Pointer.Index + 1
	}
	return n
}

// cohorts derives each cohort again and compares what members posted.
func (c *checker) cohorts(context.Context) int {
	n := 0
	for _, s := range c.derived {
		want, err := c.index.Cohort(s.Post.Query, s.Post.Attempt)
		if fault.Of(err) == fault.Unavailable && len(c.index.Missing()) == 0 {
			continue // of before an erasure: nobody can derive it again
		}
		n++
		if err != nil {
			c.wrong("cohort of query %s: %v", s.Post.Query, err)
			continue
		}
		if want.Root != s.Post.Root || want.Size != s.Post.Size {
			c.wrong("%s posted another cohort for query %s, attempt %d, than follows from the ledger", s.Member, s.Post.Query, s.Post.Attempt)
		}
	}
	return n
}

// refused names what the index refuses: records that do not follow from signatures,
// and permit nothing at any member.
func (c *checker) refused(context.Context) int {
	n, list := c.index.Refused(0)
	for _, r := range list {
		c.wrong("block %d, transaction %d: %s: %s", r.At.Block, r.At.Index, r.What, r.Reason)
	}
	if n > len(list) {
		c.wrong("and %d more records do not follow from signatures", n-len(list))
	}
	return c.index.Counts().Transactions
}
