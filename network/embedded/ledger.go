package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// Config says which ledger to open.
type Config struct {
	// Dir holds the ledger; it is made with mode 0700.
	Dir string
	// Channel names the ledger in every signature. A new one needs it; for an
	// existing one it is checked unless empty.
	Channel string
	// Roots are the root certificates (PEM) by MSP. A new ledger needs them and
	// keeps them; for an existing one they are checked unless nil.
	Roots map[string][]byte
	// Operator signs blocks. Without one, an identity is made and kept in Dir.
	Operator network.Identity
	// Chaincode runs the transactions. Without one, calls are refused.
	Chaincode shim.Chaincode
	// ReadOnly opens an existing ledger and writes nothing.
	ReadOnly bool

	// lazy keeps the store from compacting by itself, so that a test sees what
	// the ledger does about purged data.
	lazy bool
}

// Ledger is an open ledger. Its methods may be called by many goroutines.
type Ledger struct {
	cfg      Config
	db       *pebble.DB
	genesis  genesis
	trust    *network.Trust
	operator network.Identity

	queue    chan *submission
	slots    chan struct{} // bounds concurrent simulations
	inFlight atomic.Int64  // transactions between their arrival and the queue
	scrub    chan struct{}
	workers  sync.WaitGroup

	mu      sync.Mutex
	tip     tip
	changed chan struct{} // closed and replaced when tip changes
	closing chan struct{}
	closed  bool
	users   sync.WaitGroup
}

// ErrNewerSchema says that a directory was written by a newer version of this
// program. Use that version; nothing was changed.
var ErrNewerSchema = errors.New("the ledger has a newer schema")

// cacheBytes and memTableBytes bound what the store keeps in memory (up to two
// tables at a time).
const (
	cacheBytes    = 32 << 20
	memTableBytes = 8 << 20
)

// Open opens the ledger in cfg.Dir, or makes it. Only one process at a time may
// have it open. Close it when done.
func Open(cfg Config) (*Ledger, error) {
	if err := checkConfig(cfg); err != nil {
		return nil, err
	}
	if !cfg.ReadOnly {
		if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
			return nil, err
		}
	}
	db, err := openStore(cfg)
	if err != nil {
		return nil, err
	}
	l := &Ledger{
		cfg: cfg, db: db,
		queue:   make(chan *submission, maxGroup),
		slots:   make(chan struct{}, 2*runtime.GOMAXPROCS(0)+4),
		scrub:   make(chan struct{}, 1),
		changed: make(chan struct{}),
		closing: make(chan struct{}),
	}
	if err := l.start(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return l, nil
}

func checkConfig(cfg Config) error {
	if cfg.Dir == "" {
		return errors.New("a ledger needs a directory")
	}
	if len(cfg.Channel) > 64 {
		return errors.New("a channel name has at most 64 characters")
	}
	return nil
}

func openStore(cfg Config) (*pebble.DB, error) {
	o := &pebble.Options{
		FS:                 vfs.Default, // without it the store starts a watchdog that a failed Open leaks
		CacheSize:          cacheBytes,
		MemTableSize:       memTableBytes,
		FormatMajorVersion: pebble.FormatWALSyncChunks,
		ReadOnly:           cfg.ReadOnly,
		Logger:             storeLog{},

		DisableAutomaticCompactions: cfg.lazy,
		EventListener:               &pebble.EventListener{DataCorruption: logCorruption},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	dir := filepath.Join(cfg.Dir, "db")
	if cfg.ReadOnly {
		if _, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("there is no ledger in %s: %w", cfg.Dir, err)
		}
	}
	db, err := pebble.Open(dir, o)
	if err != nil {
		return nil, fmt.Errorf("cannot open the ledger in %s (only one process may have it open): %w", cfg.Dir, err)
	}
	return db, nil
}

// storeLog passes the store's errors on and drops its chatter.
type storeLog struct{}

func (storeLog) Infof(string, ...any) {}

func (storeLog) Errorf(format string, args ...any) {
	slog.Error("ledger store", "err", fmt.Sprintf(format, args...))
}

// logCorruption notes a damaged table. Whoever reads it gets the error; without
// this listener the store would end the process instead.
func logCorruption(info pebble.DataCorruptionInfo) {
	slog.Error("ledger store: a table is damaged", "path", info.Path, "err", fmt.Sprint(info.Details))
}

// Fatalf is called when a synced write fails: what is on the disk is then
// unknown and only a restart can tell.
func (storeLog) Fatalf(format string, args ...any) {
	slog.Error("ledger store failed, stopping", "err", fmt.Sprintf(format, args...))
	os.Exit(1)
}

// start reads or makes the genesis and starts the workers.
func (l *Ledger) start() error {
	fresh, err := checkSchema(l.db, l.cfg.Dir)
	if err != nil {
		return err
	}
	if fresh {
		if err := l.create(); err != nil {
			return err
		}
	}
	if err := l.load(); err != nil {
		return err
	}
	if l.cfg.ReadOnly {
		return nil
	}
	if l.operator, err = operatorOf(l.cfg, false); err != nil {
		return err
	}
	if string(record.PublicKeyBytes(&l.operator.Key.PublicKey)) != string(l.genesis.Operator) {
		return fmt.Errorf("the operator's key is not the one that signs the ledger in %s", l.cfg.Dir)
	}
	pending, err := scrubPending(l.db)
	if err != nil {
		return err
	}
	if pending {
		l.scrub <- struct{}{}
	}
	l.workers.Go(l.commitLoop)
	l.workers.Go(l.scrubLoop)
	return nil
}

// checkSchema reports whether the store is empty and refuses newer schemas.
func checkSchema(r pebble.Reader, dir string) (bool, error) {
	data, err := get(r, keySchema)
	if err != nil {
		return false, err
	}
	if data == nil {
		return true, checkEmpty(r, dir)
	}
	var schema uint64
	if err := unmarshal(data, &schema); err != nil {
		return false, fmt.Errorf("schema of the ledger in %s: %w", dir, err)
	}
	if schema > schemaVersion {
		return false, fmt.Errorf("%w: %s has %d, this program knows %d; use a newer one", ErrNewerSchema, dir, schema, schemaVersion)
	}
	return false, nil
}

func checkEmpty(r pebble.Reader, dir string) error {
	it, err := r.NewIter(nil)
	if err != nil {
		return err
	}
	found := it.First()
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return err
	}
	if found {
		return fmt.Errorf("what is stored in %s is not a ledger, or has lost its schema", dir)
	}
	return nil
}

func (l *Ledger) create() error {
	switch {
	case l.cfg.ReadOnly:
		return fmt.Errorf("there is no ledger in %s", l.cfg.Dir)
	case l.cfg.Channel == "":
		return errors.New("a new ledger needs a channel name")
	}
	if _, err := network.NewTrust(l.cfg.Roots); err != nil {
		return err
	}
	operator, err := operatorOf(l.cfg, true)
	if err != nil {
		return err
	}
	return writeGenesis(l.db, l.cfg, operator)
}

// load reads genesis and tip and checks that they belong together.
func (l *Ledger) load() error {
	g, t, err := readGenesis(l.db, l.cfg)
	if err != nil {
		return err
	}
	l.genesis, l.tip = g, t
	l.trust, err = network.NewTrust(g.roots())
	return err
}

func readGenesis(r pebble.Reader, cfg Config) (genesis, tip, error) {
	var g genesis
	var t tip
	if found, err := decodeStored(r, keyGenesis, &g); err != nil || !found {
		return g, t, corrupt(0, -1, "genesis is missing or damaged", err)
	}
	if err := g.match(cfg); err != nil {
		return g, t, err
	}
	if found, err := decodeStored(r, keyTip, &t); err != nil || !found {
		return g, t, corrupt(0, -1, "the tip is missing or damaged", err)
	}
	_, hash, err := readHeader(r, g, t.Number)
	if err != nil {
		return g, t, err
	}
	if hash != t.Hash {
		return g, t, corrupt(t.Number, -1, "the last block is not the one that the tip names", nil)
	}
	return g, t, nil
}

// Height returns the number of blocks; the newest is number Height()-1.
func (l *Ledger) Height() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tip.Number + 1
}

// Channel returns the ledger's name.
func (l *Ledger) Channel() string { return l.genesis.Channel }

// Roots returns the root certificates (PEM) by MSP.
func (l *Ledger) Roots() map[string][]byte { return l.genesis.roots() }

// Tip returns number and hash of the newest block. Who remembers it can tell
// later that the chain still contains it.
func (l *Ledger) Tip() (uint64, record.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tip.Number, l.tip.Hash
}

// enter registers a use of the store; leave ends it.
func (l *Ledger) enter() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fault.New(fault.Unavailable, "the ledger is closed")
	}
	l.users.Add(1)
	return nil
}

func (l *Ledger) leave() { l.users.Done() }

// Close waits for the calls that are under way, commits what they submitted and
// closes the ledger. Followers of Blocks get an error.
func (l *Ledger) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	close(l.closing)
	l.mu.Unlock()
	l.users.Wait()
	close(l.queue)
	l.workers.Wait()
	return l.db.Close()
}
