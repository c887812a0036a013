package chaincode

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Available records which rows of batches the calling member has found well
// formed (record.Available, Recorded). A later post for the same batch may add
// bits and never takes one away.
func (*Pointer) Available(tx transaction, arg string) (string, error) {
	return serve(tx, member, timed, arg, largeArgument, available)
}

func available(c *call, a record.Available) (state.Recorded, error) {
	var done state.Recorded
	if len(a.Posts) < 1 || len(a.Posts) > record.MaxBatch {
		return done, fault.New(fault.TooLarge, "one call carries 1 to %d posts, not %d", record.MaxBatch, len(a.Posts))
	}
	seen := make(map[record.ID]bool, len(a.Posts))
	for i, s := range a.Posts {
		if seen[s.Post.Batch] {
			return done, fault.New(fault.Invalid, "post %d: its batch is there twice", i)
		}
		seen[s.Post.Batch] = true
		added, err := c.post(s)
		if err != nil {
			f := fault.New(fault.Of(err), "post %d: %s", i, fault.Parse(err.Error()).Detail)
			return done, f
		}
		if added {
			done.Recorded++
		}
	}
	return done, nil
}

// post records one post; it reports whether that changed anything.
func (c *call) post(s record.SignedAvailable) (bool, error) {
	if s.Member != c.msp {
		return false, fault.New(fault.Forbidden, "%s cannot post for %s", c.msp, clip(s.Member))
	}
	if err := c.signedByMember(s.Post.Digest(c.genesis.Network), s.Signature); err != nil {
		return false, fault.New(fault.BadSignature, "the member's signature: %w", err)
	}
	var batch record.Batch
	if err := c.need(state.BatchKey(s.Post.Batch), &batch, "batch "+s.Post.Batch.Short()); err != nil {
		return false, err
	}
	if s.Post.Count != batch.Count {
		return false, fault.New(fault.Invalid, "the batch has %d pointers, the post says %d", batch.Count, s.Post.Count)
	}
	if !fits(s.Post.Bitmap, batch.Count) {
		return false, fault.New(fault.Invalid, "the bitmap is not %d bits in the fewest bytes, unused ones zero", batch.Count)
	}
	key := state.AvailableKey(s.Post.Batch, c.msp)
	var before record.SignedAvailable
	exists, err := c.get(key, &before)
	switch {
	case err != nil:
		return false, err
	case exists && bytes.Equal(before.Post.Bitmap, s.Post.Bitmap):
		return false, nil
	case exists && !covers(s.Post.Bitmap, before.Post.Bitmap):
		return false, fault.New(fault.Conflict, "an earlier post found rows available that this one does not")
	}
	return true, c.put(key, s)
}

// fits reports whether a bitmap has count bits and no others.
func fits(bitmap []byte, count int) bool {
	if len(bitmap) != (count+7)/8 {
		return false
	}
	spare := len(bitmap)*8 - count
	return spare == 0 || bitmap[len(bitmap)-1]>>(8-spare) == 0
}

// covers reports whether a has every bit of b; both have the same length.
func covers(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if b[i]&^a[i] != 0 {
			return false
		}
	}
	return true
}

// GetBatch returns the record.Batch with this root.
func (*Pointer) GetBatch(tx transaction, arg string) (string, error) {
	return serveID(tx, arg, (*call).batch)
}

func (c *call) batch(root record.ID) (*record.Batch, error) {
	b := new(record.Batch)
	return b, c.need(state.BatchKey(root), b, "batch "+root.Short())
}

// Get returns the record.Receipt of a pointer, with the posts that there are so
// far for its row.
func (*Pointer) Get(tx transaction, arg string) (string, error) {
	return serve(tx, submitter, untimed, arg, smallArgument, func(c *call, raw json.RawMessage) (*record.Receipt, error) {
		p, err := pointerRef(raw)
		if err != nil {
			return nil, fault.New(fault.Invalid, "%w", err)
		}
		return c.receipt(p)
	})
}

func pointerRef(raw json.RawMessage) (record.Pointer, error) {
	if len(raw) > 0 && raw[0] == '"' {
		var key string
		if err := json.Unmarshal(raw, &key); err != nil {
			return record.Pointer{}, err
		}
		return state.ParsePointerKey(key)
	}
	var ref state.PointerRef
	if err := record.DecodeJSON(raw, smallArgument, &ref); err != nil {
		return record.Pointer{}, err
	}
	if !knownKind(ref.Kind) {
		return record.Pointer{}, fmt.Errorf("kind %q is unknown", clip(ref.Kind))
	}
	return record.Pointer{Device: ref.Device, Kind: ref.Kind, Index: ref.Index, Correction: ref.Correction}, nil
}

func (c *call) receipt(p record.Pointer) (*record.Receipt, error) {
	var entry record.PointerState
	if err := c.need(state.PointerKey(p), &entry, "this pointer"); err != nil {
		return nil, err
	}
	batch, err := c.batch(entry.Batch)
	if err != nil {
		return nil, err
	}
	leaves := make([]record.ID, 0, batch.Count)
	for _, key := range batch.Pointers {
		var other record.PointerState
		if err := c.need(key, &other, "a pointer of the batch"); err != nil {
			return nil, err
		}
		leaves = append(leaves, other.Signed.Pointer.Digest(c.genesis.Network))
	}
	r := &record.Receipt{
		Pointer: entry.Signed, Batch: entry.Batch, Leaf: entry.Leaf, Count: batch.Count,
		Path: record.Path(leaves, entry.Leaf), Posts: []record.SignedAvailable{},
	}
	device, err := c.device(p.Device)
	if err != nil {
		return nil, err
	}
	epoch, err := c.epoch(device.Device.Epoch)
	if err != nil {
		return nil, err
	}
	for _, m := range epoch.Epoch.Members {
		var post record.SignedAvailable
		ok, err := c.get(state.AvailableKey(entry.Batch, m.MSP), &post)
		if err != nil {
			return nil, err
		}
		if ok && post.Post.Bitmap[entry.Leaf/8]>>(entry.Leaf%8)&1 == 1 {
			r.Posts = append(r.Posts, post)
		}
	}
	return r, nil
}
