package network

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// WarnBefore is how long before a certificate ends its owner is warned.
const WarnBefore = 60 * 24 * time.Hour

// lookAgain is how often the files of an identity in use are looked at.
const lookAgain = 100 * time.Millisecond

// files is where an identity in use comes from, and what was read there last.
type files struct {
	dir string

	mu      sync.Mutex
	looked  time.Time
	changed [2]time.Time // of certificate and key
	now     Identity
	problem error
}

// FollowIdentity reads an identity as LoadIdentity does. Its Current goes along
// with the files from then on, so that a certificate is renewed without a stop.
func FollowIdentity(dir string) (Identity, error) {
	f := &files{dir: dir}
	if err := f.read(); err != nil {
		return Identity{}, err
	}
	id := f.now
	id.files = f
	return id, nil
}

// Current is the identity as its files say now, for one that FollowIdentity read, and
// the identity itself for any other. Files that hold no identity of the same MSP
// change nothing: what was valid goes on, and Renewal says what is wrong.
func (id Identity) Current() Identity {
	if id.files == nil {
		return id
	}
	f := id.files
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.looked) >= lookAgain {
		f.problem = f.read()
	}
	now := f.now
	now.files = f
	return now
}

// Renewal looks at the files now and says why what took an identity's place is not
// used; nil where it is or nothing has changed.
func (id Identity) Renewal() error {
	f := id.files
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.problem = f.read()
	return f.problem
}

// Expires is when the certificate ends.
func (id Identity) Expires() (time.Time, error) {
	leaf, err := id.Current().Leaf()
	if err != nil {
		return time.Time{}, err
	}
	return leaf.NotAfter, nil
}

func (f *files) read() error {
	f.looked = time.Now()
	changed, err := f.stamps()
	if err != nil {
		return err
	}
	if changed == f.changed {
		return f.problem
	}
	id, err := LoadIdentity(f.dir)
	if err != nil {
		return err
	}
	if f.now.MSP != "" && id.MSP != f.now.MSP {
		return fmt.Errorf("%s: a certificate of %q took the place of one of %q", f.dir, id.MSP, f.now.MSP)
	}
	f.now, f.changed = id, changed
	return nil
}

func (f *files) stamps() ([2]time.Time, error) {
	cert, err := os.Stat(filepath.Join(f.dir, certFile))
	key, second := os.Stat(filepath.Join(f.dir, keyFile))
	if err := errors.Join(err, second); err != nil {
		return [2]time.Time{}, err
	}
	return [2]time.Time{cert.ModTime(), key.ModTime()}, nil
}

// Show is the certificate that the identity shows on a connection made now.
func (id Identity) Show() (*tls.Certificate, error) {
	c, err := id.Current().tlsCertificate()
	return &c, err
}
