package state

import (
	"sync"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// maxVerifiers bounds the parsed keys that are kept; a network has few.
const maxVerifiers = 16

type circuitName struct {
	class string
	hash  record.ID
}

// parsedKeys remembers verifying keys by class and hash, so that one is parsed
// once and not with every proof.
type parsedKeys struct {
	mu   sync.Mutex
	keys map[circuitName]*verifier.Verifier
}

var parsed = parsedKeys{keys: make(map[circuitName]*verifier.Verifier)}

// VerifierOf returns the verifier of a circuit; the key's hash is checked.
func VerifierOf(k record.Circuit) (*verifier.Verifier, error) {
	name := circuitName{k.Class, k.Hash}
	parsed.mu.Lock()
	v := parsed.keys[name]
	parsed.mu.Unlock()
	if v != nil && record.SumID(k.VerifyingKey) == k.Hash {
		return v, nil
	}
	v, err := verifier.NewVerifier(k.Class, k.VerifyingKey, k.Hash)
	if err != nil {
		return nil, err
	}
	parsed.mu.Lock()
	defer parsed.mu.Unlock()
	if len(parsed.keys) >= maxVerifiers {
		clear(parsed.keys)
	}
	parsed.keys[name] = v
	return v, nil
}
