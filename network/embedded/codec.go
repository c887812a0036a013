package embedded

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/vitalveil/vitalveil/internal/record"
)

// version is the place of the transaction that last wrote a key.
type version struct {
	_     struct{} `cbor:",toarray"`
	Block uint64
	Tx    uint32
}

// read is one key that a transaction read; nil Version: it was not there.
type read struct {
	_       struct{} `cbor:",toarray"`
	Key     string
	Version *version
}

// rangeRead is one range that a transaction read: Count keys of [Start, End),
// or of [Start, End] when it stopped before the end, and the digest of them and
// their versions in order. An empty End of an exhausted range is unbounded.
type rangeRead struct {
	_         struct{} `cbor:",toarray"`
	Start     string
	End       string
	Exhausted bool
	Count     uint64
	Digest    record.ID
}

type write struct {
	_      struct{} `cbor:",toarray"`
	Key    string
	Value  []byte
	Delete bool
}

type hashRead struct {
	_       struct{} `cbor:",toarray"`
	KeyHash record.ID
	Version *version
}

type hashWrite struct {
	_         struct{} `cbor:",toarray"`
	KeyHash   record.ID
	ValueHash record.ID
	Delete    bool
	Purge     bool
}

type collectionSet struct {
	_      struct{} `cbor:",toarray"`
	Name   string
	Reads  []hashRead
	Writes []hashWrite
}

// rwset is what a simulation read and wants to write; everything in it is
// sorted by key, collection name or key hash.
type rwset struct {
	_           struct{} `cbor:",toarray"`
	Reads       []read
	Ranges      []rangeRead
	Writes      []write
	Collections []collectionSet
}

type response struct {
	_       struct{} `cbor:",toarray"`
	Status  int32
	Message string
	Payload []byte
}

type event struct {
	_       struct{} `cbor:",toarray"`
	Name    string
	Payload []byte
}

// transaction is one entry of a block.
type transaction struct {
	_         struct{} `cbor:",toarray"`
	Proposal  []byte   // Fabric's Proposal message without transient data
	Signature []byte   // of the creator over Proposal
	Set       rwset
	Response  response
	Event     *event
}

// written is a transaction of which what it has read stays as it is encoded: followers do
// not get that.
type written struct {
	_         struct{} `cbor:",toarray"`
	Proposal  []byte
	Signature cbor.RawMessage
	Set       struct {
		_             struct{} `cbor:",toarray"`
		Reads, Ranges cbor.RawMessage
		Writes        []write
		Collections   []collectionSet
	}
	Response cbor.RawMessage
	Event    *event
}

// header is what is hashed and signed of a block.
type header struct {
	_        struct{} `cbor:",toarray"`
	Number   uint64
	Previous record.ID // hash of the previous header; zero in block 0
	Data     record.ID // Merkle root over SHA-256 of each transaction; of genesis in block 0
	Codes    []byte    // validation code of each transaction
	Time     int64     // Unix nanoseconds by the operator's clock
}

// domainBlock separates block hashes from everything else that is signed.
const domainBlock = "embedded-block/v1"

func (h header) hash(channel string) record.ID { return record.Digest(domainBlock, channel, h) }

// sealedHeader is a header with the operator's ES256 signature over its hash.
type sealedHeader struct {
	_         struct{} `cbor:",toarray"`
	Header    header
	Signature []byte
}

// privateValue is a private write as it is kept off-chain.
type privateValue struct {
	_     struct{} `cbor:",toarray"`
	Key   string
	Value []byte
}

var encoding = func() cbor.EncMode {
	o := cbor.CoreDetEncOptions()
	o.TextMarshaler = cbor.TextMarshalerNone
	m, err := o.EncMode()
	if err != nil {
		panic(err)
	}
	return m
}()

var decoding = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   16,
		MaxArrayElements:  1 << 24,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return m
}()

var errEncoding = errors.New("not the deterministic encoding")

// marshal encodes v; the types above always can be.
func marshal(v any) ([]byte, error) { return encoding.Marshal(v) }

// unmarshal decodes exactly one value and refuses every encoding of it but the
// deterministic one.
func unmarshal(data []byte, v any) error {
	if err := decoding.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %w", errEncoding, err)
	}
	again, err := encoding.Marshal(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, data) {
		return errEncoding
	}
	return nil
}
