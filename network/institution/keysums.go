package institution

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

// keySums keeps sums of device secrets, so that a share of a large cohort needs
// only the devices that it has more or less than a kept sum. A sum is stored with
// the set of devices that it is over, and what a query covers is read from the
// ledger; so a sum that is old, or was restored from a backup, costs time and
// never gives a wrong share. It is safe for concurrent use.
type keySums struct {
	params  *he.Params
	context he.Context
	secrets *secrets
	vault   *store.Store
	// enrolled returns the ledger's devices from a number on.
	enrolled func(from int) []record.ID
	log      *slog.Logger

	making singleflight.Group // large sums, by sumKey

	mu      sync.Mutex
	devices []record.ID // by number
	numbers map[record.ID]int
	kept    map[sumName]*keptSum
	latest  map[int]*keptSum // by piece: the large sum made last, for whoever needs it next
	erased  map[record.ID]bool
}

// sumName names a kept sum: of one piece, over the devices of a scope.
type sumName struct {
	piece int
	scope record.ID
}

func (n sumName) String() string { return store.KeySum(n.piece, n.scope) }

// keptSum is never changed, only replaced.
type keptSum struct {
	set deviceSet
	sum he.KeySum
}

func newKeySums(s *secrets, enrolled func(int) []record.ID, log *slog.Logger) *keySums {
	return &keySums{
		params: s.params, context: s.context, secrets: s, vault: s.vault, enrolled: enrolled, log: log,
		numbers: map[record.ID]int{}, kept: map[sumName]*keptSum{}, latest: map[int]*keptSum{}, erased: map[record.ID]bool{},
	}
}

// load reads the stored sums. One that is not what its digest says is dropped,
// and made again from the seeds when it is needed.
func (k *keySums) load() error {
	names, err := k.vault.Names(store.KeySums)
	if err != nil {
		return err
	}
	for _, name := range names {
		id, sum, err := k.read(name)
		if err != nil {
			k.log.Warn("a stored key sum cannot be used; it is made again from the seeds", "sum", name, "err", err)
			if err := k.vault.Remove(name); err != nil {
				return err
			}
			continue
		}
		k.kept[id] = sum
	}
	return nil
}

func (k *keySums) read(name string) (sumName, *keptSum, error) {
	var id sumName
	piece, scope, _ := strings.Cut(strings.TrimPrefix(name, store.KeySums), "/")
	var err error
	if id.piece, err = strconv.Atoi(piece); err != nil {
		return id, nil, err
	}
	if id.scope, err = record.ParseID(scope); err != nil {
		return id, nil, err
	}
	raw, _, err := k.vault.Get(name)
	if err != nil {
		return id, nil, err
	}
	s, err := k.decode(id.piece, raw)
	return id, s, err
}

// digest covers a sum, what it is over and what it is for.
func (k *keySums) digest(piece int, s *keptSum) record.ID {
	return record.Digest("key-sum/v1", k.context.Network, []any{k.context.Epoch, piece, s.set.bytes(), s.sum.Digest()})
}

// encode is digest, set and sum.
func (k *keySums) encode(piece int, s *keptSum) []byte {
	digest := k.digest(piece, s)
	b := append(slices.Clone(digest[:]), s.set.bytes()...)
	for _, v := range s.sum {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	return b
}

func (k *keySums) decode(piece int, b []byte) (*keptSum, error) {
	sum := k.params.NewKeySum()
	set := len(b) - len(record.ID{}) - 4*len(sum)
	if set < 0 || set%8 != 0 {
		return nil, fmt.Errorf("it has %d bytes", len(b))
	}
	body := b[len(record.ID{}):]
	for i := range sum {
		sum[i] = int32(binary.LittleEndian.Uint32(body[set+4*i:]))
	}
	s := &keptSum{set: deviceSetOf(body[:set]), sum: sum}
	if digest := k.digest(piece, s); string(digest[:]) != string(b[:len(digest)]) {
		return nil, fmt.Errorf("it is not what its digest says")
	}
	return s, nil
}

// learn reads the devices that have been enrolled since the last time.
func (k *keySums) learn() {
	for _, d := range k.enrolled(len(k.devices)) {
		k.numbers[d] = len(k.devices)
		k.devices = append(k.devices, d)
	}
}

// number returns a device's place in sets.
func (k *keySums) number(device record.ID) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n, ok := k.numbers[device]
	if !ok {
		k.learn()
		n, ok = k.numbers[device]
	}
	if !ok {
		return 0, fault.New(fault.Internal, "device %s is not on the ledger", device.Short())
	}
	return n, nil
}

// device is the inverse of number.
func (k *keySums) device(n int) (record.ID, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n >= len(k.devices) {
		k.learn()
	}
	if n >= len(k.devices) {
		return record.ID{}, fault.New(fault.Internal, "there is no device number %d on the ledger", n)
	}
	return k.devices[n], nil
}

func (k *keySums) setOf(devices []record.ID) (deviceSet, error) {
	var s deviceSet
	for _, d := range devices {
		n, err := k.number(d)
		if err != nil {
			return nil, err
		}
		if !s.has(n) {
			s.flip(n)
		}
	}
	return s, nil
}

// withoutErased leaves out the devices that were dropped: the ledger may still list
// them for a moment.
func (k *keySums) withoutErased(devices []record.ID) []record.ID {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.DeleteFunc(devices, func(d record.ID) bool { return k.erased[d] })
}

// nearest returns the sum of a piece that differs least from a set, of those that
// are kept and the one that was made last: the sum over no devices if there is none
// nearer.
func (k *keySums) nearest(piece int, set deviceSet) *keptSum {
	best := &keptSum{}
	least := set.size()
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
func (k *keySums) isKept(piece int, set deviceSet) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, s := range k.kept {
		if name.piece == piece && s.set.distance(set) == 0 {
			return true
		}
	}
	return false
}

// keep makes the sum over a set the one of a scope, on disk first. Where another
// scope has the same set already, that one serves both.
func (k *keySums) keep(piece int, scope record.ID, set deviceSet) error {
	name := sumName{piece, scope}
	if set.size() == 0 || k.isKept(piece, set) {
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
	if err := k.vault.Put(name.String(), k.encode(piece, s)); err != nil {
		return err
	}
	k.kept[name] = s
	return nil
}

// mayKeep refuses sets with a device that was erased. The caller holds mu.
func (k *keySums) mayKeep(set deviceSet) error {
	for device := range k.erased {
		if n, ok := k.numbers[device]; ok && set.has(n) {
			return fault.New(fault.Conflict, "device %s was erased meanwhile", device.Short())
		}
	}
	return nil
}

// retain forgets the sums of scopes that are not among these, and all with none.
func (k *keySums) retain(scopes map[record.ID]bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(scopes) == 0 {
		clear(k.latest)
	}
	return k.forget(func(n sumName, _ *keptSum) bool { return !scopes[n.scope] })
}

// drop forgets every sum that contains a device, here and on disk. It will not be
// kept in one again.
func (k *keySums) drop(device record.ID) error {
	n, err := k.number(device)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.erased[device] = true
	for piece, s := range k.latest {
		if s.set.has(n) {
			delete(k.latest, piece)
		}
	}
	return k.forget(func(_ sumName, s *keptSum) bool { return s.set.has(n) })
}

func (k *keySums) forget(which func(sumName, *keptSum) bool) error {
	var names []string
	for name, s := range k.kept {
		if which(name, s) {
			delete(k.kept, name)
			names = append(names, name.String())
		}
	}
	return k.vault.Remove(names...)
}
