package keysum

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// Sums keeps sums of the pieces that a member holds. It is safe for concurrent use.
type Sums struct {
	params  *he.Params
	context he.Context
	held    []int // pieces
	secrets *secrets
	store   *store.Store
	numbers *Numbers
	log     *slog.Logger

	making singleflight.Group // large sums, by piece and set

	mu     sync.Mutex
	kept   map[sumName]*keptSum
	latest map[int]*keptSum // by piece: the large sum made last, for whoever needs it next
	erased map[record.ID]bool
}

// sumName names a kept sum: of one piece, over the devices of a scope.
type sumName struct {
	piece int
	scope record.ID
}

func (n sumName) String() string { return store.KeySum(n.piece, n.scope) }

// keptSum is never changed, only replaced.
type keptSum struct {
	set Set
	sum he.KeySum
}

// New opens the sums of a member that holds these pieces. A stored sum that is not what
// its digest says is dropped, and made again from the seeds when it is needed.
func New(p *he.Params, c he.Context, held []int, s *store.Store, numbers *Numbers, log *slog.Logger) (*Sums, error) {
	k := &Sums{
		params: p, context: c, held: held, secrets: newSecrets(p, c, s), store: s, numbers: numbers, log: log,
		kept: map[sumName]*keptSum{}, latest: map[int]*keptSum{}, erased: map[record.ID]bool{},
	}
	return k, k.load()
}

func (k *Sums) load() error {
	names, err := k.store.Names(store.KeySums)
	if err != nil {
		return err
	}
	for _, name := range names {
		id, sum, err := k.read(name)
		if err != nil {
			k.log.Warn("a stored key sum cannot be used; it is made again from the seeds", "sum", name, "err", err)
			if err := k.store.Remove(name); err != nil {
				return err
			}
			continue
		}
		k.kept[id] = sum
	}
	return nil
}

func (k *Sums) read(name string) (sumName, *keptSum, error) {
	var id sumName
	piece, scope, _ := strings.Cut(strings.TrimPrefix(name, store.KeySums), "/")
	var err error
	if id.piece, err = strconv.Atoi(piece); err != nil {
		return id, nil, err
	}
	if id.scope, err = record.ParseID(scope); err != nil {
		return id, nil, err
	}
	raw, _, err := k.store.Get(name)
	if err != nil {
		return id, nil, err
	}
	s, err := k.decode(id.piece, raw)
	return id, s, err
}

// digest covers a sum, what it is over and what it is for.
func (k *Sums) digest(piece int, s *keptSum) record.ID {
	return record.Digest("key-sum/v1", k.context.Network, []any{k.context.Epoch, piece, s.set.bytes(), s.sum.Digest()})
}

// encode is digest, set and sum.
func (k *Sums) encode(piece int, s *keptSum) []byte {
	digest := k.digest(piece, s)
	b := append(slices.Clone(digest[:]), s.set.bytes()...)
	for _, v := range s.sum {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	return b
}

func (k *Sums) decode(piece int, b []byte) (*keptSum, error) {
	sum := k.params.NewKeySum()
	set := len(b) - len(record.ID{}) - 4*len(sum)
	if set < 0 || set%8 != 0 {
		return nil, fmt.Errorf("it has %d bytes", len(b))
	}
	body := b[len(record.ID{}):]
	for i := range sum {
		sum[i] = int32(binary.LittleEndian.Uint32(body[set+4*i:]))
	}
	s := &keptSum{set: setOf(body[:set]), sum: sum}
	if digest := k.digest(piece, s); string(digest[:]) != string(b[:len(digest)]) {
		return nil, fmt.Errorf("it is not what its digest says")
	}
	return s, nil
}

// withoutErased leaves out the devices that were dropped: the ledger may still list
// them for a moment.
func (k *Sums) withoutErased(devices []record.ID) []record.ID {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.DeleteFunc(devices, func(d record.ID) bool { return k.erased[d] })
}

// nearest returns the sum of a piece that differs least from a set, of those that
// are kept and the one that was made last: the sum over no devices if there is none
// nearer.
func (k *Sums) nearest(piece int, set Set) *keptSum {
	best := &keptSum{}
	least := set.Size()
	k.mu.Lock()
	defer k.mu.Unlock()
	consider := func(s *keptSum) {
		if d := s.set.distance(set); d < least {
			best, least = s, d
		}
	}
	for name, s := range k.kept {
		if name.piece == piece {
			consider(s)
		}
	}
	if s := k.latest[piece]; s != nil {
		consider(s)
	}
	return best
}

// isKept reports whether some scope's sum of a piece is over this set.
func (k *Sums) isKept(piece int, set Set) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, s := range k.kept {
		if name.piece == piece && s.set.distance(set) == 0 {
			return true
		}
	}
	return false
}

// Keep makes the sums over devices those of a scope, on disk first. Where another
// scope has the same devices already, that one serves both.
func (k *Sums) Keep(scope record.ID, devices []record.ID) error {
	set, err := k.numbers.Set(k.withoutErased(devices))
	if err != nil {
		return err
	}
	for _, piece := range k.held {
		if err := k.keep(piece, scope, set); err != nil {
			return err
		}
	}
	return nil
}

func (k *Sums) keep(piece int, scope record.ID, set Set) error {
	name := sumName{piece, scope}
	if set.Size() == 0 || k.isKept(piece, set) {
		return nil
	}
	s, err := k.over(piece, set, nil)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.mayKeep(set); err != nil {
		return err
	}
	if err := k.store.Put(name.String(), k.encode(piece, s)); err != nil {
		return err
	}
	k.kept[name] = s
	return nil
}

// mayKeep refuses sets with a device that was erased. The caller holds mu.
func (k *Sums) mayKeep(set Set) error {
	for device := range k.erased {
		if n, err := k.numbers.Of(device); err == nil && set.Has(n) {
			return fault.New(fault.Conflict, "device %s was erased meanwhile", device.Short())
		}
	}
	return nil
}

// Retain forgets the sums of scopes that are not among these.
func (k *Sums) Retain(scopes map[record.ID]bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.forget(func(n sumName, _ *keptSum) bool { return !scopes[n.scope] })
}

// Clear forgets everything that was made of seeds, here and on disk.
func (k *Sums) Clear() error {
	k.secrets.clear()
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.latest)
	return k.forget(func(sumName, *keptSum) bool { return true })
}

// Drop forgets everything that was made of a device's seeds, here and on disk. None of
// it will be kept again.
func (k *Sums) Drop(device record.ID) error {
	k.secrets.drop(device)
	n, err := k.numbers.Of(device)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.erased[device] = true
	for piece, s := range k.latest {
		if s.set.Has(n) {
			delete(k.latest, piece)
		}
	}
	return k.forget(func(_ sumName, s *keptSum) bool { return s.set.Has(n) })
}

func (k *Sums) forget(which func(sumName, *keptSum) bool) error {
	var names []string
	for name, s := range k.kept {
		if which(name, s) {
			delete(k.kept, name)
			names = append(names, name.String())
		}
	}
	return k.store.Remove(names...)
}
