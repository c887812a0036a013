package fabric

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
)

const (
	testChannel   = "channel"
	testChaincode = "contracts"
)

// wire makes the messages that peers send, signed by real identities.
type wire struct {
	t      testing.TB
	reader reader
	member network.Identity
	foe    network.Identity // names the same MSP, under a root of its own
}

func newWire(t testing.TB) *wire {
	t.Helper()
	w := &wire{t: t}
	roots := map[string][]byte{}
	for i := range 2 {
		ca, err := network.NewCA("HospitalA")
		w.ok(err)
		id, err := ca.Issue("client", "client")
		w.ok(err)
		if i == 0 {
			w.member, roots["HospitalA"] = id, ca.RootPEM()
		} else {
			w.foe = id
		}
	}
	trust, err := network.NewTrust(roots)
	w.ok(err)
	w.reader = reader{channel: testChannel, chaincode: testChaincode, trust: trust}
	return w
}

func (w *wire) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) bytes(m proto.Message) []byte {
	w.t.Helper()
	b, err := proto.Marshal(m)
	w.ok(err)
	return b
}

// draft is a transaction before it is signed; tests change what they want.
type draft struct {
	signer    network.Identity
	channel   string
	id        string // empty: the right one
	nonce     string
	chaincode string
	args      []string
	endorsed  []string // the arguments that were endorsed, if not args
	sets      []*rwset.NsReadWriteSet
	results   []byte // in place of sets
	event     *peer.ChaincodeEvent
	at        time.Time
	spoil     bool // the signature
}

func (w *wire) draft() draft {
	return draft{
		signer: w.member, channel: testChannel, nonce: "a nonce", chaincode: testChaincode,
		args: []string{contracts.ClockTick.Name(), "one"}, at: time.Now(),
	}
}

func (w *wire) tx(d draft) []byte {
	creator, err := d.signer.Creator()
	w.ok(err)
	id := sha256.Sum256(append([]byte(d.nonce), creator...))
	if d.id == "" {
		d.id = hex.EncodeToString(id[:])
	}
	head := &common.Header{
		ChannelHeader: w.bytes(&common.ChannelHeader{
			Type:      int32(common.HeaderType_ENDORSER_TRANSACTION),
			ChannelId: d.channel, TxId: d.id, Timestamp: timestamppb.New(d.at),
		}),
		SignatureHeader: w.bytes(&common.SignatureHeader{Creator: creator, Nonce: []byte(d.nonce)}),
	}
	if d.endorsed == nil {
		d.endorsed = d.args
	}
	hash := sha256.Sum256(bytes.Join([][]byte{head.ChannelHeader, head.SignatureHeader, w.proposal(d.chaincode, d.endorsed)}, nil))
	if d.results == nil {
		d.results = w.bytes(&rwset.TxReadWriteSet{NsRwset: d.sets})
	}
	action := &peer.ChaincodeAction{Results: d.results, ChaincodeId: &peer.ChaincodeID{Name: d.chaincode}}
	if d.event != nil {
		action.Events = w.bytes(d.event)
	}
	endorsed := w.bytes(&peer.ProposalResponsePayload{ProposalHash: hash[:], Extension: w.bytes(action)})
	payload := w.bytes(&common.Payload{Header: head, Data: w.bytes(&peer.Transaction{Actions: []*peer.TransactionAction{{
		Payload: w.bytes(&peer.ChaincodeActionPayload{
			ChaincodeProposalPayload: w.proposal(d.chaincode, d.args),
			Action:                   &peer.ChaincodeEndorsedAction{ProposalResponsePayload: endorsed},
		}),
	}}})})
	sig, err := d.signer.Sign(payload)
	w.ok(err)
	if d.spoil {
		payload = append(payload, 0x78, 1) // an unknown field
	}
	return w.bytes(&common.Envelope{Payload: payload, Signature: sig})
}

func (w *wire) proposal(chaincode string, args []string) []byte {
	var raw [][]byte
	for _, a := range args {
		raw = append(raw, []byte(a))
	}
	return w.bytes(&peer.ChaincodeProposalPayload{Input: w.bytes(&peer.ChaincodeInvocationSpec{ChaincodeSpec: &peer.ChaincodeSpec{
		ChaincodeId: &peer.ChaincodeID{Name: chaincode}, Input: &peer.ChaincodeInput{Args: raw},
	}})})
}

// config is a transaction of the channel's own administration.
func (w *wire) config() []byte {
	return w.bytes(&common.Envelope{Payload: w.bytes(&common.Payload{Header: &common.Header{ChannelHeader: w.bytes(
		&common.ChannelHeader{Type: int32(common.HeaderType_CONFIG), ChannelId: testChannel, TxId: "config"})}})})
}

// block puts transactions into block 7, all with the same verdict.
func (w *wire) block(code peer.TxValidationCode, txs ...[]byte) *common.Block {
	sum := sha256.Sum256(bytes.Join(txs, nil))
	return &common.Block{
		Header: &common.BlockHeader{Number: 7, PreviousHash: bytes.Repeat([]byte{9}, 32), DataHash: sum[:]},
		Data:   &common.BlockData{Data: txs},
		Metadata: &common.BlockMetadata{Metadata: [][]byte{
			nil, nil,
			bytes.Repeat([]byte{byte(code)}, len(txs)), nil, nil,
		}},
	}
}

func (w *wire) read(b *common.Block) *network.Block {
	w.t.Helper()
	out, err := w.reader.block(b, nil)
	w.ok(err)
	return out
}

func (w *wire) refuses(why string, b *common.Block) {
	w.t.Helper()
	if _, err := w.reader.block(b, nil); err == nil || !strings.Contains(err.Error(), why) {
		w.t.Fatalf("got %v, want a refusal with %q", err, why)
	}
}

func (w *wire) public(namespace string, writes ...*kvrwset.KVWrite) *rwset.NsReadWriteSet {
	return &rwset.NsReadWriteSet{Namespace: namespace, Rwset: w.bytes(&kvrwset.KVRWSet{Writes: writes})}
}

func TestABlockIsReadAsItWasSigned(t *testing.T) {
	w := newWire(t)
	d := w.draft()
	d.sets = []*rwset.NsReadWriteSet{
		w.public("another", &kvrwset.KVWrite{Key: "not ours", Value: []byte("x")}),
		w.public(testChaincode, &kvrwset.KVWrite{Key: "b", Value: []byte("2")}, &kvrwset.KVWrite{Key: "a", IsDelete: true},
			&kvrwset.KVWrite{Key: "c"}),
	}
	d.event = &peer.ChaincodeEvent{ChaincodeId: testChaincode, EventName: "ticked", Payload: []byte("p")}
	b := w.read(w.block(peer.TxValidationCode_VALID, w.config(), w.tx(d)))
	if b.Number != 7 || b.Previous != record.ID(bytes.Repeat([]byte{9}, 32)) || len(b.Txs) != 2 {
		t.Fatalf("got %+v", b)
	}
	if c := b.Txs[0]; c.ID != "config" || !c.Valid || c.Function != "" || c.Creator.MSP != "" {
		t.Errorf("the configuration shows as %+v", c)
	}
	tx := b.Txs[1]
	if tx.Index != 1 || !tx.Valid || tx.Code != "VALID" || tx.Time != d.at.Unix() || tx.Function != contracts.ClockTick.Name() ||
		!slices.Equal(tx.Args, []string{"one"}) || tx.Creator.MSP != "HospitalA" || !bytes.Equal(tx.Creator.Certificate, w.member.Certificate) {
		t.Errorf("got %+v", tx)
	}
	want := []network.Write{{Key: "a", Delete: true}, {Key: "b", Value: []byte("2")}, {Key: "c", Delete: true}}
	if !slices.EqualFunc(tx.Writes, want, func(a, b network.Write) bool {
		return a.Key == b.Key && a.Delete == b.Delete && bytes.Equal(a.Value, b.Value)
	}) {
		t.Errorf("writes %+v", tx.Writes)
	}
	if tx.Event.Name != "ticked" || string(tx.Event.Payload) != "p" {
		t.Errorf("event %+v", tx.Event)
	}
}

// The hash must be the one that orderers and peers chain blocks by: following a
// real chain shows that it is, and this what is hashed.
func TestTheHeaderHashIsFabrics(t *testing.T) {
	one := &common.BlockHeader{Number: 1, PreviousHash: bytes.Repeat([]byte{1}, 32), DataHash: bytes.Repeat([]byte{2}, 32)}
	got, err := headerHash(one)
	if err != nil {
		t.Fatal(err)
	}
	der := append([]byte{0x30, 0x47, 0x02, 0x01, 0x01, 0x04, 0x20}, one.PreviousHash...)
	der = append(append(der, 0x04, 0x20), one.DataHash...)
	if got != sha256.Sum256(der) {
		t.Errorf("got %s", got)
	}
}

func TestAnInvalidTransactionChangesNothing(t *testing.T) {
	w := newWire(t)
	d := w.draft()
	d.sets = []*rwset.NsReadWriteSet{w.public(testChaincode, &kvrwset.KVWrite{Key: "a", Value: []byte("1")})}
	d.event = &peer.ChaincodeEvent{ChaincodeId: testChaincode, EventName: "alarm"}
	tx := w.read(w.block(peer.TxValidationCode_MVCC_READ_CONFLICT, w.tx(d))).Txs[0]
	if tx.Valid || tx.Code != "MVCC_READ_CONFLICT" || tx.ID == "" || tx.Function != contracts.ClockTick.Name() || len(tx.Writes) != 0 || tx.Event.Name != "" {
		t.Errorf("got %+v", tx)
	}
}

func TestAnotherChaincodesTransactionShowsOnlyWhatItChangesInOurs(t *testing.T) {
	w := newWire(t)
	d := w.draft()
	d.chaincode = "another"
	d.sets = []*rwset.NsReadWriteSet{
		w.public("another", &kvrwset.KVWrite{Key: "x", Value: []byte("1")}),
		w.public(testChaincode, &kvrwset.KVWrite{Key: "y", Value: []byte("2")}),
	}
	d.event = &peer.ChaincodeEvent{ChaincodeId: "another", EventName: "theirs"}
	tx := w.read(w.block(peer.TxValidationCode_VALID, w.tx(d))).Txs[0]
	if tx.Function != "" || tx.Args != nil || tx.Event.Name != "" || len(tx.Writes) != 1 || tx.Writes[0].Key != "y" {
		t.Errorf("got %+v", tx)
	}
}

// Each of these is something that a peer, or a member with a peer's help, might
// try to pass off as a valid transaction.
func TestAttackForgedValidTransactions(t *testing.T) {
	for _, c := range []struct {
		name, why string
		forge     func(*wire, *draft)
	}{
		{"the creator's certificate is from another root", "creator", func(w *wire, d *draft) { d.signer = w.foe }},
		{"something was changed after it was signed", "signature", func(_ *wire, d *draft) { d.spoil = true }},
		{"the id is another transaction's", "id", func(_ *wire, d *draft) { d.id = strings.Repeat("ab", 32) }},
		{"other arguments were endorsed", "endorsed", func(_ *wire, d *draft) { d.endorsed = []string{contracts.ClockTick.Name(), "two"} }},
		{"it is another channel's", "channel", func(_ *wire, d *draft) { d.channel = "elsewhere" }},
		{"the certificate was not valid then", "creator", func(_ *wire, d *draft) { d.at = time.Now().Add(-48 * time.Hour) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWire(t)
			d := w.draft()
			c.forge(w, &d)
			w.refuses(c.why, w.block(peer.TxValidationCode_VALID, w.tx(d)))
		})
	}
}

func TestAttackAnInvalidTransactionDoesNotSpeakForAnyone(t *testing.T) {
	w := newWire(t)
	d := w.draft()
	d.signer, d.id = w.foe, strings.Repeat("ab", 32)
	b := w.read(w.block(peer.TxValidationCode_BAD_PROPOSAL_TXID, w.tx(d), []byte("not an envelope"), nil))
	for _, tx := range b.Txs {
		if tx.Valid || tx.ID != "" || tx.Creator.MSP != "" || tx.Function != "" {
			t.Errorf("got %+v", tx)
		}
	}
}

func TestAttackABlockThatIsNotWhatItsHeaderSays(t *testing.T) {
	w := newWire(t)
	fresh := func() *common.Block { return w.block(peer.TxValidationCode_VALID, w.tx(w.draft())) }
	for why, change := range map[string]func(*common.Block){
		"its transactions are not":   func(b *common.Block) { b.Data.Data = append(b.Data.Data, w.config()) },
		"which transactions":         func(b *common.Block) { b.Metadata.Metadata[2] = []byte{0, 0} },
		"a hash in its header":       func(b *common.Block) { b.Header.PreviousHash = b.Header.PreviousHash[1:] },
		"it has no header":           func(b *common.Block) { b.Header = nil },
		"does not say which transac": func(b *common.Block) { b.Metadata = nil },
	} {
		b := fresh()
		change(b)
		w.refuses(why, b)
	}
}

// secret is a private write with its public hashes.
func (w *wire) secret(key, value string) (*kvrwset.KVWriteHash, *kvrwset.KVWrite) {
	k, v := sha256.Sum256([]byte(key)), sha256.Sum256([]byte(value))
	return &kvrwset.KVWriteHash{KeyHash: k[:], ValueHash: v[:]}, &kvrwset.KVWrite{Key: key, Value: []byte(value)}
}

func (w *wire) private(hashes []*kvrwset.KVWriteHash, values []*kvrwset.KVWrite) ([]byte, *rwset.TxPvtReadWriteSet) {
	d := w.draft()
	d.results = w.privateResults(hashes)
	return w.tx(d), &rwset.TxPvtReadWriteSet{NsPvtRwset: []*rwset.NsPvtReadWriteSet{{
		Namespace:          testChaincode,
		CollectionPvtRwset: []*rwset.CollectionPvtReadWriteSet{{CollectionName: "secrets", Rwset: w.bytes(&kvrwset.KVRWSet{Writes: values})}},
	}}}
}

func (w *wire) privateResults(hashes []*kvrwset.KVWriteHash) []byte {
	return w.bytes(&rwset.TxReadWriteSet{NsRwset: []*rwset.NsReadWriteSet{{
		Namespace: testChaincode,
		CollectionHashedRwset: []*rwset.CollectionHashedReadWriteSet{
			{CollectionName: "secrets", HashedRwset: w.bytes(&kvrwset.HashedRWSet{HashedWrites: hashes})},
		},
	}}})
}

func TestPrivateValuesCountOnlyUnderTheirHashes(t *testing.T) {
	w := newWire(t)
	h1, v1 := w.secret("one", "Ada")
	h2, _ := w.secret("two", "Bob")
	h3, _ := w.secret("three", "Charles")
	_, wrong := w.secret("three", "Eve")
	gone := &kvrwset.KVWriteHash{KeyHash: bytes.Repeat([]byte{0xff}, 32), IsDelete: true, IsPurge: true}
	tx, private := w.private([]*kvrwset.KVWriteHash{h1, h2, h3, gone}, []*kvrwset.KVWrite{v1, wrong})
	b, err := w.reader.block(w.block(peer.TxValidationCode_VALID, tx), map[uint64]*rwset.TxPvtReadWriteSet{0: private})
	w.ok(err)
	got := b.Txs[0].Private
	if len(got) != 4 || !slices.IsSortedFunc(got, func(a, b network.PrivateWrite) int { return bytes.Compare(a.KeyHash[:], b.KeyHash[:]) }) {
		t.Fatalf("got %+v", got)
	}
	for _, p := range got {
		isOne := bytes.Equal(p.KeyHash[:], h1.KeyHash)
		if p.Available != isOne || isOne && (p.Key != "one" || string(p.Value) != "Ada") || !isOne && (p.Key != "" || p.Value != nil) {
			t.Errorf("got %+v", p)
		}
		if p.Purge != (p.KeyHash[0] == 0xff) || p.Delete != p.Purge || p.ValueHash.IsZero() != p.Delete || p.Collection != "secrets" {
			t.Errorf("got %+v", p)
		}
	}
}

// FuzzBlock reads whole messages, envelopes behind a header that fits them, and
// results that a member signed.
func FuzzBlock(f *testing.F) {
	w := newWire(f)
	h, v := w.secret("one", "Ada")
	hashes, values := []*kvrwset.KVWriteHash{h}, []*kvrwset.KVWrite{v}
	tx, private := w.private(hashes, values)
	for _, code := range []peer.TxValidationCode{peer.TxValidationCode_VALID, peer.TxValidationCode_MVCC_READ_CONFLICT} {
		f.Add(w.bytes(&peer.BlockAndPrivateData{
			Block:          w.block(code, tx, w.config()),
			PrivateDataMap: map[uint64]*rwset.TxPvtReadWriteSet{0: private},
		}), tx, w.privateResults(hashes))
	}
	f.Fuzz(func(t *testing.T, data, tx, results []byte) {
		w := &wire{t: t, reader: w.reader, member: w.member}
		sent := &peer.BlockAndPrivateData{}
		if proto.Unmarshal(data, sent) == nil {
			checkRead(t, w, sent.GetBlock(), sent.GetPrivateDataMap())
		}
		checkRead(t, w, w.block(peer.TxValidationCode_VALID, tx), sent.GetPrivateDataMap())
		checkRead(t, w, w.block(peer.TxValidationCode_BAD_PAYLOAD, tx), nil)
		d := w.draft()
		d.results = append([]byte{}, results...)
		checkRead(t, w, w.block(peer.TxValidationCode_VALID, w.tx(d)), sent.GetPrivateDataMap())
	})
}

func checkRead(t *testing.T, w *wire, b *common.Block, private map[uint64]*rwset.TxPvtReadWriteSet) {
	out, err := w.reader.block(b, private)
	if err != nil {
		return
	}
	for i, tx := range out.Txs {
		if tx.Index != i || tx.Valid != (tx.Code == "VALID") {
			t.Fatalf("transaction %d shows as %+v", i, tx)
		}
		if !tx.Valid && (len(tx.Writes) != 0 || len(tx.Private) != 0 || tx.Event.Name != "") {
			t.Fatal("an invalid transaction has effects")
		}
		if tx.Function != "" && tx.Creator.MSP == "" {
			t.Fatal("a call that nobody signed")
		}
		for _, p := range tx.Private {
			if p.Available && (p.KeyHash != sha256.Sum256([]byte(p.Key)) || !p.Delete && p.ValueHash != sha256.Sum256(p.Value)) {
				t.Fatal("a private value that is not the one hashed")
			}
		}
	}
}

func sum256(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}
