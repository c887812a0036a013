package index

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"
	"sync"

	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/record"
)

// person is a patient with the keys that a test signs for them with.
type person struct {
	state         record.Patient
	key, recovery *ecdsa.PrivateKey
	revoked       []revoked
	denied        map[record.ID]int64 // when, by denial
}

// revoked is a revocation: of a consent for somebody, or of everything.
type revoked struct {
	at      int64
	grantee string
}

var (
	keysMu    sync.Mutex
	keysKnown = map[string]*ecdsa.PrivateKey{}
)

// keyOf is the same key for the same name, so that histories can be had again.
func keyOf(name string) *ecdsa.PrivateKey {
	keysMu.Lock()
	defer keysMu.Unlock()
	if k := keysKnown[name]; k != nil {
		return k
	}
	scalar := record.SumID([]byte("a test's key of " + name))
	k := consortium.Must(ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar[:]))
	keysKnown[name] = k
	return k
}

// key is a new key.
func (l *ledger) key() *ecdsa.PrivateKey {
	l.nextID++
	return keyOf(fmt.Sprintf("number %d", l.nextID))
}

var (
	public = consortium.Public
	signed = consortium.Sign
)
