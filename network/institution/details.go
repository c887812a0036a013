package institution

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/institution/share"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

const (
	// keyTime bounds how long one key is looked for.
	keyTime = 5 * time.Second
	// keyWorkers is how many are looked for at once.
	keyWorkers = 8
)

// DetailsKey implements details.Source for the contracts that this member runs: from
// the vault or, for the first time, from the boxes of the patient or another member.
func (in *Institution) DetailsKey(ctx context.Context, r details.Ref) (details.Key, error) {
	k, err := in.ownKey(ctx, r)
	if err == nil || fault.Of(err) == fault.Purged {
		return k, err
	}
	k, err = in.askForKey(ctx, r)
	if err != nil {
		return details.Key{}, err
	}
	return in.keepKey(r, k)
}

// Held implements index.Keys: what is in the vault now. It does not look at the index,
// which is being written.
func (in *Institution) Held(r details.Ref) (details.Key, bool) {
	raw, found, err := in.vault.Get(store.DetailsKey(r.Patient))
	if err != nil || !found {
		return details.Key{}, false
	}
	k, err := details.Check(in.genesis.Network, r, raw)
	return k, err == nil
}

// ownKey is DetailsKey without asking other members.
func (in *Institution) ownKey(ctx context.Context, r details.Ref) (details.Key, error) {
	k, err := in.heldKey(r)
	if fault.Of(err) != fault.Unavailable {
		return k, err
	}
	blob, err := in.blob(ctx, r.Blob)
	if err != nil {
		in.log.Debug("the boxes of a patient's details key are not there", "patient", r.Patient.Short(), "err", err)
		return details.Key{}, details.Later(r.Patient)
	}
	private, err := in.cfg.Keys.Detail.Bytes()
	if err != nil {
		return details.Key{}, err
	}
	k, err = details.OpenBox(in.genesis.Network, r, in.self.MSP, private, blob)
	if err != nil {
		in.log.Info("no box with a patient's details key opens here; other members are asked", "patient", r.Patient.Short(), "err", err)
		return details.Key{}, details.Later(r.Patient)
	}
	return in.keepKey(r, k)
}

// heldKey looks in the vault.
func (in *Institution) heldKey(r details.Ref) (details.Key, error) {
	if gone, err := in.isGone(r.Patient); gone || err != nil {
		return details.Key{}, errors.Join(err, details.Purged(r.Patient))
	}
	raw, found, err := in.vault.Get(store.DetailsKey(r.Patient))
	if err != nil {
		return details.Key{}, err
	}
	if !found {
		return details.Key{}, details.Later(r.Patient)
	}
	k, err := details.Check(in.genesis.Network, r, raw)
	if err != nil {
		return k, fault.New(fault.Internal, "the stored details key of patient %s is not the one on the ledger", r.Patient.Short())
	}
	return k, nil
}

// isGone reports whether nothing of a patient may be kept here any more.
func (in *Institution) isGone(patient record.ID) (bool, error) {
	if in.index.Erased(patient) {
		return true, nil
	}
	_, gone, err := in.vault.Get(store.Gone(patient))
	return gone, err
}

// keepKey stores a key, unless its patient has been erased meanwhile. One that this member
// has not read of on the ledger, and knows from who asks alone, it does not store.
func (in *Institution) keepKey(r details.Ref, k details.Key) (details.Key, error) {
	in.seeding.Lock()
	defer in.seeding.Unlock()
	if gone, err := in.isGone(r.Patient); gone || err != nil {
		return details.Key{}, errors.Join(err, details.Purged(r.Patient))
	}
	if in.ended() {
		return details.Key{}, details.Later(r.Patient)
	}
	if p, known := in.index.Patient(r.Patient); !known || p.Inception.DetailsKey != r.Digest {
		return k, nil
	}
	return k, in.vault.Put(store.DetailsKey(r.Patient), k.Bytes())
}

// askForKey asks the other members in turn for a key that this one has no box of.
func (in *Institution) askForKey(ctx context.Context, r details.Ref) (details.Key, error) {
	for i, m := range in.cfg.Genesis.Members {
		if i == in.cfg.Member {
			continue
		}
		secret, err := in.peers.detailsKey(ctx, m.MSP, r.Patient)
		if err != nil {
			in.log.Debug("a member did not give a details key", "member", m.MSP, "err", err)
			continue
		}
		k, err := details.Check(in.genesis.Network, r, secret)
		if err == nil {
			return k, nil
		}
		in.log.Warn("a member gave another details key than the patient signed", "member", m.MSP, "patient", r.Patient.Short())
	}
	return details.Key{}, details.Later(r.Patient)
}

// giveKey answers another member, which may have joined after the patient enrolled.
func (in *Institution) giveKey(ctx context.Context, caller, name string) (*share.GetDetailsKeyResponse, error) {
	id, err := record.ParseID(name)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	if !in.index.Seated(caller) {
		return nil, fault.New(fault.Forbidden, "%s is not a member of any epoch that lives", caller)
	}
	p, known := in.index.Patient(id)
	if !known {
		return nil, fault.New(fault.NotFound, "patient %s is not on the ledger", id.Short())
	}
	k, err := in.ownKey(ctx, details.RefOf(p))
	if err != nil {
		return nil, err
	}
	return &share.GetDetailsKeyResponse{Key: k.Bytes()}, nil
}

// keyDuty fetches the keys of new patients, so that the blobs are not needed later.
type keyDuty struct {
	next    int // patients before this one were looked at
	waiting backlog[details.Ref]
}

func (d *keyDuty) bind(in *Institution) func(context.Context) error {
	return func(ctx context.Context) error { return d.work(ctx, in) }
}

func (d *keyDuty) work(ctx context.Context, in *Institution) error {
	if in.ended() {
		return nil
	}
	fresh := in.index.Patients(d.next)
	d.next += len(fresh)
	var refs []details.Ref
	for _, p := range fresh {
		refs = append(refs, details.RefOf(p))
	}
	todo := d.waiting.take(refs)
	missing := make([]bool, len(todo))
	var g errgroup.Group
	g.SetLimit(keyWorkers)
	for i, r := range todo {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, keyTime)
			defer cancel()
			_, err := in.DetailsKey(ctx, r)
			missing[i] = err != nil && fault.Of(err) != fault.Purged
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var later []details.Ref
	for i, r := range todo {
		if missing[i] {
			later = append(later, r)
		}
	}
	if len(later) < len(todo) && len(in.index.Missing()) > 0 {
		in.Hurry() // details that came before their keys can be read now
	}
	d.waiting.keep(later)
	return d.waiting.err("details keys")
}

// serveKeys brings keys to the processes of this member that run its contracts,
// until ctx or the epoch ends: from then on another process of the member does it.
func (in *Institution) serveKeys(ctx context.Context) error {
	if in.cfg.KeySocket == "" {
		return nil
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var g errgroup.Group
	g.Go(func() error {
		defer stop()
		return details.Serve(ctx, in.cfg.KeySocket, in, in.log)
	})
	for ctx.Err() == nil {
		changed := in.Next()
		if in.ended() {
			break
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
	stop()
	return g.Wait()
}

// StoredKeys reads the details keys that a member has in its state directory, sealed with
// the key in keyFile, or in dir where that is empty, by patient, while no process has it
// open. It changes nothing.
func StoredKeys(dir, keyFile string) (map[record.ID]details.Key, error) {
	s, err := store.OpenReadOnly(dir, keyFile)
	if err != nil {
		return nil, err
	}
	keys := map[record.ID]details.Key{}
	for e, err := range s.Each(store.Details) {
		var id record.ID
		if err == nil {
			id, err = record.ParseID(strings.TrimPrefix(e.Name, store.Details))
		}
		if err == nil {
			keys[id], err = details.ParseKey(e.Value)
		}
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return keys, s.Close()
}
