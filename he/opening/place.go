package opening

import (
	"github.com/vitalveil/vitalveil/internal/record"
)

// The infos of the HPKE contexts, one for each kind of secret.
const (
	infoSeed = "vitalveil seed box v2"
	infoKey  = "vitalveil piece key box v2"
)

// Domains of the digests of places.
const (
	domainSeedHash = "he-seed-hash/v1"
	domainSeedBox  = "he-seed-box/v2"
	domainKeyHash  = "he-piece-key-check/v1"
	domainKeyBox   = "he-piece-key-box/v2"
)

// Address is the one place that a box belongs to: who made it, of what, for whom.
// SeedPlace and KeyPlace make addresses. Whatever differs gives another one, at
// which the box is none.
type Address struct {
	network string
	info    string                        // of the HPKE context: what kind of secret
	place   record.ID                     // of everything but the key
	public  []byte                        // the recipient's for this kind of secret
	hash    func(secret []byte) record.ID // what the ledger keeps of the secret
}

// SeedPlace is where a seed belongs: it is piece Piece of a device of an epoch.
type SeedPlace struct {
	Network string
	Profile string
	Epoch   uint32
	Device  record.ID
	Piece   int
}

// Hash is what the ledger keeps of a seed.
func (p SeedPlace) Hash(seed []byte) record.ID {
	return record.Digest(domainSeedHash, p.Network, []any{p.Profile, p.Epoch, p.Device, p.Piece, seed})
}

// To is the address of the seed's box to a holder.
func (p SeedPlace) To(holder record.Member) Address {
	return Address{
		network: p.Network, info: infoSeed, public: holder.SeedKey, hash: p.Hash,
		place: record.Digest(domainSeedBox, p.Network, []any{p.Profile, p.Epoch, p.Device, p.Piece, holder.MSP}),
	}
}

// KeyPlace is where the PRF key of a piece belongs. From is the MSP of the holder
// that made it, and Round the number of its predecessors that were found faulty.
type KeyPlace struct {
	Network string
	Epoch   uint32
	Piece   int
	Round   int
	From    string
}

// Hash is what the ledger keeps of the key, whoever made it.
func (p KeyPlace) Hash(key []byte) record.ID {
	return record.Digest(domainKeyHash, p.Network, []any{p.Epoch, p.Piece, key})
}

// To is the address of the key's box to another holder.
func (p KeyPlace) To(holder record.Member) Address {
	return Address{
		network: p.Network, info: infoKey, public: holder.PieceKey, hash: p.Hash,
		place: record.Digest(domainKeyBox, p.Network, []any{p.Epoch, p.Piece, p.Round, p.From, holder.MSP}),
	}
}
