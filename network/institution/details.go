package institution

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/institution/share"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// keyring has the details keys of patients: each is the one on the ledger, and none is
// stored again once its patient is erased.
type keyring struct {
	*member
	next    int // patients before this one were looked at
	waiting backlog[details.Ref]

	mu sync.Mutex // while a key is stored, or deleted for good
}

const (
	// keyTime bounds how long one key is looked for.
	keyTime = 5 * time.Second
	// keyWorkers is how many are looked for at once.
	keyWorkers = 8
)

// DetailsKey implements details.Source for the contracts that this member runs: from
// the vault or, for the first time, from the boxes of the patient or another member.
func (kr *keyring) DetailsKey(ctx context.Context, r details.Ref) (details.Key, error) {
	k, err := kr.ownKey(ctx, r)
	if err == nil || fault.Of(err) == fault.Purged {
		return k, err
	}
	k, err = kr.ask(ctx, r)
	if err != nil {
		return details.Key{}, err
	}
	return kr.keep(r, k)
}

// Held implements index.Keys: what is in the vault now. It does not look at the index,
// which is being written.
func (kr *keyring) Held(r details.Ref) (details.Key, bool) {
	raw, found, err := kr.vault.Get(store.DetailsKey(r.Patient))
	if err != nil || !found {
		return details.Key{}, false
	}
	k, err := details.Check(kr.genesis.Network, r, raw)
	return k, err == nil
}

// ownKey is DetailsKey without asking other members.
func (kr *keyring) ownKey(ctx context.Context, r details.Ref) (details.Key, error) {
	k, err := kr.heldKey(r)
	if fault.Of(err) != fault.Unavailable {
		return k, err
	}
	blob, err := kr.blob(ctx, r.Blob)
	if err != nil {
		kr.log.Debug("the boxes of a patient's details key are not there", "patient", r.Patient.Short(), "err", err)
		return details.Key{}, details.Later(r.Patient)
	}
	private, err := kr.cfg.Keys.Detail.Bytes()
	if err != nil {
		return details.Key{}, err
	}
	k, err = details.OpenBox(kr.genesis.Network, r, kr.self.MSP, private, blob)
	if err != nil {
		kr.log.Info("no box with a patient's details key opens here; other members are asked", "patient", r.Patient.Short(), "err", err)
		return details.Key{}, details.Later(r.Patient)
	}
	return kr.keep(r, k)
}

// heldKey looks in the vault.
func (kr *keyring) heldKey(r details.Ref) (details.Key, error) {
	if gone, err := kr.isGone(r.Patient); gone || err != nil {
		return details.Key{}, errors.Join(err, details.Purged(r.Patient))
	}
	raw, found, err := kr.vault.Get(store.DetailsKey(r.Patient))
	if err != nil {
		return details.Key{}, err
	}
	if !found {
		return details.Key{}, details.Later(r.Patient)
	}
	k, err := details.Check(kr.genesis.Network, r, raw)
	if err != nil {
		return k, fault.New(fault.Internal, "the stored details key of patient %s is not the one on the ledger", r.Patient.Short())
	}
	return k, nil
}

// isGone reports whether nothing of a patient may be kept here any more.
func (kr *keyring) isGone(patient record.ID) (bool, error) {
	if kr.index.Erased(patient) {
		return true, nil
	}
	_, gone, err := kr.vault.Get(store.Gone(patient))
	return gone, err
}

// keep stores a key, unless its patient has been erased meanwhile. One that this member
// has not read of on the ledger, and knows from who asks alone, it does not store.
func (kr *keyring) keep(r details.Ref, k details.Key) (details.Key, error) {
	kr.mu.Lock()
	defer kr.mu.Unlock()
	if gone, err := kr.isGone(r.Patient); gone || err != nil {
		return details.Key{}, errors.Join(err, details.Purged(r.Patient))
	}
	if kr.ended() {
		return details.Key{}, details.Later(r.Patient)
	}
	if p, known := kr.index.Patient(r.Patient); !known || p.Inception.DetailsKey != r.Digest {
		return k, nil
	}
	return k, kr.vault.Put(store.DetailsKey(r.Patient), k.Bytes())
}

// ask asks the other members in turn for a key that this one has no box of.
func (kr *keyring) ask(ctx context.Context, r details.Ref) (details.Key, error) {
	for i, m := range kr.cfg.Genesis.Members {
		if i == kr.cfg.Member {
			continue
		}
		secret, err := kr.peers.detailsKey(ctx, m.MSP, r.Patient)
		if err != nil {
			kr.log.Debug("a member did not give a details key", "member", m.MSP, "err", err)
			continue
		}
		k, err := details.Check(kr.genesis.Network, r, secret)
		if err == nil {
			return k, nil
		}
		kr.log.Warn("a member gave another details key than the patient signed", "member", m.MSP, "patient", r.Patient.Short())
	}
	return details.Key{}, details.Later(r.Patient)
}

// give answers another member, which may have joined after the patient enrolled.
func (kr *keyring) give(ctx context.Context, caller, name string) (*share.GetDetailsKeyResponse, error) {
	id, err := record.ParseID(name)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	if !kr.index.Seated(caller) {
		return nil, fault.New(fault.Forbidden, "%s is not a member of any epoch that lives", caller)
	}
	p, known := kr.index.Patient(id)
	if !known {
		return nil, fault.New(fault.NotFound, "patient %s is not on the ledger", id.Short())
	}
	k, err := kr.ownKey(ctx, details.RefOf(p))
	if err != nil {
		return nil, err
	}
	return &share.GetDetailsKeyResponse{Key: k.Bytes()}, nil
}

// fetch fetches the keys of new patients, so that the blobs are not needed later.
func (kr *keyring) fetch(ctx context.Context) error {
	if kr.ended() {
		return nil
	}
	fresh := kr.index.Patients(kr.next)
	kr.next += len(fresh)
	var refs []details.Ref
	for _, p := range fresh {
		refs = append(refs, details.RefOf(p))
	}
	todo := kr.waiting.take(refs)
	missing := make([]bool, len(todo))
	var g errgroup.Group
	g.SetLimit(keyWorkers)
	for i, r := range todo {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, keyTime)
			defer cancel()
			_, err := kr.DetailsKey(ctx, r)
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
	if len(later) < len(todo) && len(kr.index.Missing()) > 0 {
		kr.Hurry() // details that came before their keys can be read now
	}
	kr.waiting.keep(later)
	return kr.waiting.err("details keys")
}

// serve brings keys to the processes of this member that run its contracts,
// until ctx or the epoch ends: from then on another process of the member does it.
func (kr *keyring) serve(ctx context.Context) error {
	if kr.cfg.KeySocket == "" {
		return nil
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var g errgroup.Group
	g.Go(func() error {
		defer stop()
		return details.Serve(ctx, kr.cfg.KeySocket, kr, kr.log)
	})
	for ctx.Err() == nil {
		changed := kr.Next()
		if kr.ended() {
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

// destroy deletes a patient's details key and, when it is in no file any more,
// writes the note that it is gone. The index has read of the erasure, so it is not
// stored again.
func (kr *keyring) destroy(ctx context.Context, patient record.ID) error {
	kr.mu.Lock()
	defer kr.mu.Unlock()
	if err := kr.vault.Replace(ctx, []string{store.DetailsKey(patient)}); err != nil {
		return err
	}
	return kr.vault.Put(store.Gone(patient), []byte{})
}
