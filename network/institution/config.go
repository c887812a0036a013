package institution

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/index/follow"

	"github.com/vitalveil/vitalveil/network/institution/keysum"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// Blobs is where sealed rows and seeds are fetched from. What it returns is
// checked against the hash that was asked for, so it is not trusted.
type Blobs interface {
	// Get returns the blob with this SHA-256; fault.NotFound where there is none.
	Get(ctx context.Context, id record.ID) ([]byte, error)
}

// Config is what an institution is made of.
type Config struct {
	Genesis record.Genesis
	// Epoch is the one whose devices and queries this process serves, as the ledger
	// has it; without members it is epoch 0, the genesis. A member runs one process,
	// with a directory and an address of its own, for each epoch it is in, until the
	// epoch is retired.
	Epoch    record.Epoch
	Member   int              // place in the epoch's members
	Identity network.Identity // also its TLS identity towards other members
	Client   network.Client
	// Height returns the number of blocks that its peer has. A share is given
	// only after the index has read all of them.
	Height  func(context.Context) (uint64, error)
	Keys    *he.MemberKeys // of the epoch's Members[Member], as is SignKey
	SignKey *ecdsa.PrivateKey
	// Dir holds the durable state; see package documentation. It is made if
	// needed, for this user alone.
	Dir string
	// KeyFile has the key that seals what is in Dir, and is made with it. Empty stands
	// for a file in Dir: fine for trials, but whoever gets a copy of Dir has the key too.
	KeyFile string
	Blobs   Blobs
	Listen  net.Listener // where other members get shares; nil: nowhere
	// KeySocket is where processes of this member that run its contracts get patients'
	// details keys; empty: nowhere.
	KeySocket string
	Peers     map[string]string // host:port by MSP
	Roots     map[string][]byte // root certificates (PEM) by MSP
	// Patience is how long to wait for other members before naming who is
	// missing; 0 stands for 30 seconds.
	Patience time.Duration
	Log      *slog.Logger // nil: no log
	// Clock tells the time in a network whose clock is the wall's; nil: time.Now.
	Clock func() time.Time
}

// Institution is one member at work: parts that each keep a promise of their own, wired
// here. What people ask of it is theirs to answer.
type Institution struct {
	*member
	*clock
	*keyring
	*answerer
	*asker
	*poser
	*confirmer
	*claims
	seeds     *seedKeeper
	pieceKeys *pieceKeys
	rows      *rows
	attester  *attester
	prober    *prober
	searcher  *searcher
	eraser    *eraser
	sumKeeper *sumKeeper
	server    *tls.Config

	mu     sync.Mutex
	closed bool
}

const defaultPatience = 30 * time.Second

// New checks the configuration and opens the state. Call Run to start and Close
// when Run has returned.
func New(cfg Config) (*Institution, error) {
	genesis := cfg.Genesis
	cfg.inEpoch()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("institution: %w", err)
	}
	if cfg.Patience == 0 {
		cfg.Patience = defaultPatience
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	params, err := he.ForNetwork(cfg.Genesis)
	if err != nil {
		return nil, fmt.Errorf("institution: %w", err)
	}
	me := &member{
		cfg: cfg, genesis: genesis, self: cfg.Genesis.Members[cfg.Member],
		params: params, hours: rowKind{params: params}, days: rowKind{params: params.Day()},
		context: he.Context{Network: genesis.Network, Epoch: cfg.Epoch.Number}, index: index.New(),
	}
	me.log = cfg.Log.With("member", me.self.MSP)
	in := wired(me)
	if in.server, err = network.ServerTLS(cfg.Identity, cfg.Roots); err != nil {
		return nil, fmt.Errorf("institution: %w", err)
	}
	if in.peers, err = newPeers(cfg); err != nil {
		return nil, fmt.Errorf("institution: %w", err)
	}
	if in.vault, err = store.Open(cfg.Dir, cfg.KeyFile); err != nil {
		return nil, fmt.Errorf("institution: %w", err)
	}
	in.index.OpenWith(in.keyring)
	in.numbers = keysum.NewNumbers(in.index.DeviceIDs)
	if err := errors.Join(in.claimState(), in.openSums(), in.openColumns(), in.openFollower()); err != nil {
		return nil, errors.Join(fmt.Errorf("institution: %w", err), in.vault.Close())
	}
	return in, nil
}

// wired makes an institution's parts and lets each know those that it asks.
func wired(me *member) *Institution {
	in := &Institution{
		member: me, clock: &clock{member: me}, keyring: &keyring{member: me}, claims: &claims{me},
		seeds: &seedKeeper{member: me}, pieceKeys: &pieceKeys{me, map[string]time.Time{}},
		rows: &rows{me, newVerdicts()}, sumKeeper: &sumKeeper{me},
	}
	in.answerer = &answerer{member: me, pieceKeys: in.pieceKeys, locks: newLocks(), standings: newStandings()}
	in.asker = &asker{me, in.answerer, in.rows, newProgress()}
	in.poser = newPoser(me, in.asker)
	in.confirmer = &confirmer{member: me, answerer: in.answerer, unsaid: map[string]bool{}}
	in.attester = &attester{member: me, rows: in.rows}
	in.prober = &prober{me, in.answerer, in.pieceKeys}
	in.searcher = &searcher{member: me, prober: in.prober, rows: in.rows, done: map[string]map[record.ID]bool{}}
	in.eraser = &eraser{me, in.seeds, in.keyring, map[record.ID]bool{}}
	return in
}

func (c *Config) check() error {
	if c.Member < 0 || c.Member >= len(c.Genesis.Members) {
		return fmt.Errorf("there is no member %d among %d", c.Member, len(c.Genesis.Members))
	}
	self := c.Genesis.Members[c.Member]
	switch {
	case c.Identity.MSP != self.MSP:
		return fmt.Errorf("the identity is of %q, member %d is %q", c.Identity.MSP, c.Member, self.MSP)
	case c.Client == nil || c.Height == nil || c.Blobs == nil || c.Dir == "":
		return errors.New("the fields Client, Height, Blobs and Dir are needed")
	case !c.Keys.Of(self):
		return fmt.Errorf("the HPKE keys are not the ones that the genesis has for %s", self.MSP)
	case c.SignKey == nil || !bytes.Equal(record.PublicKeyBytes(&c.SignKey.PublicKey), self.SignKey):
		return fmt.Errorf("the signing key is not the one that the genesis has for %s", self.MSP)
	}
	return nil
}

func (in *Institution) openSums() error {
	var err error
	in.sums, err = keysum.New(in.params, in.context, in.params.Sharing().Held(in.cfg.Member), in.vault, in.numbers, in.log)
	return err
}

// openFollower has the index follow the ledger.
func (in *Institution) openFollower() error {
	var err error
	in.Follower, err = follow.New(follow.Config{
		Genesis: in.genesis, Client: in.cfg.Client, Height: in.cfg.Height, Index: in.index,
		Role: "institution", Store: in.vault, Dir: in.cfg.Dir, Ended: in.ended, Log: in.log,
	})
	return err
}

// claimState makes sure that a state directory serves one member of one epoch of
// one network only: answers of another would not be found when they are asked again.
func (in *Institution) claimState() error {
	owner := []string{in.genesis.Network, in.self.MSP}
	if e := in.context.Epoch; e > 0 {
		owner = append(owner, fmt.Sprintf("epoch %d", e))
	}
	want, err := json.Marshal(owner)
	if err != nil {
		return err
	}
	got, found, err := in.vault.Get(store.Owner)
	if err != nil {
		return err
	}
	if !found {
		return in.vault.Put(store.Owner, want)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("the state in %s is of another member, epoch or network: %s", filepath.Clean(in.cfg.Dir), got)
	}
	return nil
}

// Close closes the state. Run must have returned.
func (in *Institution) Close() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil
	}
	in.closed = true
	return errors.Join(in.peers.close(), in.vault.Close())
}

// MSP names the member.
func (in *Institution) MSP() string { return in.self.MSP }
