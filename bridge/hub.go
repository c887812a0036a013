package bridge

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/internal/vault"
	"github.com/vitalveil/vitalveil/zk"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// Prover proves a statement about committed days; *zk.Keys is one.
type Prover interface {
	Prove(ctx context.Context, s verifier.Statement, openings []*zk.Opening) ([]byte, error)
}

// Config says what a hub works with. Dir, Genesis and GatewayURL are required.
type Config struct {
	// Dir holds the store. It is created with mode 0700 if absent.
	Dir string
	// KeyFile holds the key that encrypts the store; empty means Dir + ".key".
	// It is created with mode 0600 for a new store.
	KeyFile string
	// GuardFile holds the marks that reveal a rolled back store; empty means
	// Dir + ".mark". Keep it outside of whatever could restore Dir.
	GuardFile string
	// Genesis is the network's policy, received out of band and never from the
	// gateway.
	Genesis record.Genesis
	// Epochs are the epochs of members after the genesis, in order, from anywhere:
	// each must follow from the one before by signatures. The last is the one whose
	// members hold the seeds of this hub's devices, and it takes a directory of its
	// own.
	Epochs []record.EpochState
	// Params are the sealing parameters of the last epoch; nil: as it and the genesis say.
	Params *he.Params
	// Prover may be nil; a predicate that holds is then an error until SetProver.
	Prover Prover
	// AskFirst has every question wait for the patient's word (Device.Say). One that is
	// not given in time is silence, which nobody can tell from a no.
	AskFirst bool
	// GatewayURL is the base URL of the gateway.
	GatewayURL string
	// OtherGateways are base URLs of further gateways of the network. Where one fails
	// or refuses, the next is tried.
	OtherGateways []string
	// HeldDays is for how many days more than usual, at most MaxHeldDays, a day stays open
	// for late data before its root and its day row are made, once for ever: for sources
	// that deliver late. Hours are sealed all the same.
	HeldDays int
	// Clock is the time at which notifications are gridded; nil means time.Now.
	Clock func() time.Time
}

// Hub serves the devices of one installation. It is safe for concurrent use;
// work on different devices runs in parallel.
type Hub struct {
	cfg     Config
	epoch   uint32
	network string
	store   *vault.Vault
	schema  *privacy.Schema
	pieces  int
	clock   clock

	mu      sync.Mutex
	devices map[record.ID]*Device
	prover  Prover
	proving proving
	memory  func() uint64
	closed  bool

	markMu sync.Mutex
	marks  map[record.ID]mark

	flusher *flusher
}

// ErrClosed says that the hub was closed.
var ErrClosed = errors.New("bridge is closed")

// Open opens the store of an installation, or makes a new one.
//
// A device whose store is behind its mark is retired at once; the hub opens all
// the same, so that the other devices go on. See Device.Retired.
func Open(cfg Config) (*Hub, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	h := &Hub{
		cfg: cfg, epoch: uint32(len(cfg.Epochs)), network: cfg.Genesis.Network, schema: cfg.Params.Schema(), prover: cfg.Prover, memory: availableMemory,
		clock: clock{
			wall: cfg.Genesis.Clock != record.ClockSimulated, hub: cfg.Clock, network: cfg.Genesis.Network,
			gateways: newGateways(cfg.gateways(), cfg.Genesis.Network, nil),
		},
		pieces: cfg.Params.Sharing().Pieces(), devices: map[record.ID]*Device{},
	}
	if err := h.openFiles(); err != nil {
		return nil, err
	}
	if err := h.openDevices(); err != nil {
		h.store.Close()
		return nil, err
	}
	h.flusher = startFlusher(h.store.DB())
	return h, nil
}

// gateways are the base URLs of all gateways, the first to use first.
func (c *Config) gateways() []string { return append([]string{c.GatewayURL}, c.OtherGateways...) }

// Check refuses a configuration that Open would, and opens nothing.
func (c Config) Check() error { return c.complete() }

// complete fills in defaults and checks that the parts belong together.
func (c *Config) complete() error {
	switch {
	case c.Dir == "":
		return errors.New("bridge: no directory given")
	case c.HeldDays < 0 || c.HeldDays > MaxHeldDays:
		return fmt.Errorf("bridge: days are held for 0 to %d days, not %d", MaxHeldDays, c.HeldDays)
	case c.Genesis.Network == "" || len(c.Genesis.Members) == 0:
		return errors.New("bridge: the genesis document names no network or no members")
	}
	if err := c.followEpochs(); err != nil {
		return err
	}
	if c.Params == nil {
		var err error
		if c.Params, err = he.ForNetwork(c.Genesis); err != nil {
			return fmt.Errorf("bridge: %w", err)
		}
	}
	switch {
	case c.Genesis.Threshold < 2 || c.Genesis.Threshold > len(c.Genesis.Members):
		return fmt.Errorf("bridge: threshold %d of %d members", c.Genesis.Threshold, len(c.Genesis.Members))
	case c.Genesis.Schema != c.Params.Schema().Digest():
		return fmt.Errorf("bridge: the network seals row schema %s, the parameters given are for %s", c.Genesis.Schema.Short(), c.Params.Schema().Name)
	case c.Genesis.Profile != c.Params.Profile().Name:
		return fmt.Errorf("bridge: the network seals with profile %q, the parameters given are %q", c.Genesis.Profile, c.Params.Profile().Name)
	}
	sharing := c.Params.Sharing()
	if sharing.Members != len(c.Genesis.Members) || sharing.Threshold != c.Genesis.Threshold {
		return fmt.Errorf("bridge: the parameters are for %d of %d members, the network has %d of %d",
			sharing.Threshold, sharing.Members, c.Genesis.Threshold, len(c.Genesis.Members))
	}
	dir := filepath.Clean(c.Dir)
	if c.KeyFile == "" {
		c.KeyFile = dir + ".key"
	}
	if c.GuardFile == "" {
		c.GuardFile = dir + ".mark"
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return nil
}

// openFiles opens marks, key and store.
func (h *Hub) openFiles() error {
	if _, err := state.Claim(h.cfg.Dir, storeVersion); err != nil {
		return err
	}
	var err error
	if h.marks, err = loadMarks(h.cfg.GuardFile); err != nil {
		return err
	}
	if h.store, err = vault.Open(filepath.Join(h.cfg.Dir, "store"), h.cfg.KeyFile); err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	// A store of an older version is resumed; from here on it is of this one, and
	// an older program refuses it.
	err = state.WriteFile(filepath.Join(h.cfg.Dir, state.VersionFile), []byte(strconv.Itoa(storeVersion)+"\n"))
	if err != nil {
		return errors.Join(err, h.store.Close())
	}
	return nil
}

func (h *Hub) openDevices() error {
	it, err := h.store.DB().NewIter(&pebble.IterOptions{LowerBound: []byte{kindDevice}, UpperBound: []byte{kindDevice + 1}})
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		if len(it.Key()) != 33 {
			return fmt.Errorf("%w: device key of %d bytes", ErrDamaged, len(it.Key()))
		}
		d, err := h.loadDevice(record.ID(it.Key()[1:]))
		if err == nil {
			err = h.checkEpoch(d.id, d.rec.Document.Device)
		}
		if err != nil {
			return err
		}
		h.devices[d.id] = d
	}
	return it.Error()
}

// Close writes what is still in memory and closes the store. Close sessions
// first; whatever is called later fails with ErrClosed.
func (h *Hub) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	devices := slices.Collect(maps.Values(h.devices))
	h.mu.Unlock()
	h.flusher.stop()
	var errs []error
	for _, d := range devices {
		errs = append(errs, d.shutdown())
	}
	h.clock.gateways.close()
	errs = append(errs, h.store.Close())
	return errors.Join(errs...)
}

// SetProver gives the hub its prover, whose keys take long to load.
func (h *Hub) SetProver(p Prover) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.prover = p
}

// ClockAhead is by how much the hub's clock is ahead of ledger time, if it was found to
// be by more than both may differ when a gateway told ledger time last, and has not
// been set since. Otherwise it is 0.
func (h *Hub) ClockAhead() time.Duration { return h.clock.ahead() }

// Devices returns the devices of the installation, in the order of their
// identifiers, retired ones too.
func (h *Hub) Devices() []*Device {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedFunc(maps.Values(h.devices), func(a, b *Device) int { return a.id.Compare(b.id) })
}

// Device returns one device, and false if the installation has none of this
// identifier.
func (h *Hub) Device(id record.ID) (*Device, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d, ok := h.devices[id]
	return d, ok
}

// Enrolment is what a new device asks the ledger to record. The patient checks
// and signs Document.Device (its digest in record.DomainDevice).
type Enrolment struct {
	Document record.EnrolDevice // with the device's signature, without the patient's
	SeedBlob []byte             // the seeds, sealed to their holders
}

// NewDevice makes a device for a patient: a key, fresh seeds and the enrolment
// that the patient is asked to sign. It is durable on return. It will be the
// patient's designated device for the metrics, and seal every hour from the
// Unix hour firstHour on.
func (h *Hub) NewDevice(patient record.ID, metrics []string, firstHour int64) (*Device, Enrolment, error) {
	names, err := checkMetrics(metrics)
	if err != nil {
		return nil, Enrolment{}, err
	}
	if patient.IsZero() || firstHour < -maxHour || firstHour > maxHour {
		return nil, Enrolment{}, errors.New("bridge: a device needs a patient and a first hour within the years 1 to 9999")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, Enrolment{}, err
	}
	public := record.PublicKeyBytes(&key.PublicKey)
	id := record.DeviceID(h.network, public)
	rec := deviceRecord{Document: record.EnrolDevice{Device: record.Device{
		Key: public, Patient: patient, FirstHour: firstHour, Profile: h.cfg.Genesis.Profile, Epoch: h.epoch, Metrics: names,
	}}}
	if rec.Key, err = key.Bytes(); err != nil {
		return nil, Enrolment{}, err
	}
	if err := h.makeSeeds(id, &rec); err != nil {
		return nil, Enrolment{}, err
	}
	rec.Document.DeviceSignature, err = record.Sign(key, record.Digest(record.DomainDevice, h.network, rec.Document.Device))
	if err != nil {
		return nil, Enrolment{}, err
	}
	d, err := h.addDevice(id, rec)
	if err != nil {
		return nil, Enrolment{}, err
	}
	return d, Enrolment{Document: rec.Document, SeedBlob: rec.SeedBlob}, nil
}

// maxHour bounds Unix hours: far beyond any use, far below overflow.
const maxHour = 24 * 2932896

// makeSeeds draws the seeds and seals them to their holders.
func (h *Hub) makeSeeds(id record.ID, rec *deviceRecord) error {
	seeds := make([]he.Seed, h.pieces)
	for p := range seeds {
		s := he.NewSeed()
		seeds[p] = s
		rec.Seeds = append(rec.Seeds, s[:])
		rec.Document.Device.SeedHashes = append(rec.Document.Device.SeedHashes, h.cfg.Params.SeedHash(h.context(), id, p, s))
	}
	blob, err := h.cfg.Params.SealSeeds(h.context(), id, seeds, h.cfg.Genesis.Members)
	if err != nil {
		return fmt.Errorf("seal the seeds of a new device: %w", err)
	}
	rec.SeedBlob = blob
	rec.Document.Device.SeedBlob = record.SumID(blob)
	return nil
}

func (h *Hub) context() he.Context { return he.Context{Network: h.network, Epoch: h.epoch} }

func (h *Hub) addDevice(id record.ID, rec deviceRecord) (*Device, error) {
	d, err := h.newDevice(id, rec)
	if err != nil {
		return nil, err
	}
	first := rec.Document.Device.FirstHour
	d.state = deviceState{SealedUntil: first, PackedRows: first, DaysUntil: dayOfHour(first), PackedDays: dayOfHour(first)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	err = d.vault.Update(true, func(b *pebble.Batch) error {
		return errors.Join(d.vault.store(b, d.vault.key(kindDevice), rec), d.vault.store(b, d.vault.key(kindState), d.state))
	})
	if err != nil {
		return nil, err
	}
	h.devices[id] = d
	return d, nil
}

// raiseMarks records that rows up to these marks may leave; it is durable on
// return. Marks never fall.
func (h *Hub) raiseMarks(sealed map[record.ID]mark) error {
	h.markMu.Lock()
	defer h.markMu.Unlock()
	next, changed := maps.Clone(h.marks), false
	for id, m := range sealed {
		old, ok := next[id]
		if ok {
			m = m.most(old)
		}
		if !ok || m != old {
			next[id], changed = m, true
		}
	}
	if !changed {
		return nil
	}
	if err := saveMarks(h.cfg.GuardFile, next); err != nil {
		return fmt.Errorf("write the rollback guard, without which nothing may be uploaded: %w", err)
	}
	h.marks = next
	return nil
}
