package institution

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/cmd/ledger"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/embedded"
	"github.com/vitalveil/vitalveil/network/index/follow"
	role "github.com/vitalveil/vitalveil/network/institution"
	"github.com/vitalveil/vitalveil/network/site"
)

// forgingCommand is the ledger of an operator that records whatever consent it is
// asked to: who has signed it does not matter to it.
type forgingCommand struct{ ledger.Command }

// Run serves the ledger until it is interrupted.
func (c forgingCommand) Run(ctx context.Context) error {
	d, err := site.Descriptor(c.Network)
	if err != nil {
		return err
	}
	id, err := network.FollowIdentity(filepath.Join(c.Org, site.LedgerIdentityDir))
	if err != nil {
		return err
	}
	keys := details.NewClient(site.LedgerConfig{}.KeySocket(c.Org, id.MSP))
	contracts, err := chaincode.New(keys)
	if err != nil {
		return err
	}
	l, err := embedded.Open(embedded.Config{Dir: c.Dir, Channel: d.Genesis.Network, Roots: d.Roots, Chaincode: forger{contracts, keys}})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return errors.Join(l.Serve(ctx, listener, id), l.Close())
}

// forger is the contracts, but for consents.
type forger struct {
	shim.Chaincode
	keys details.Source
}

func (f forger) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	if name, _ := stub.GetFunctionAndParameters(); name != contracts.ConsentPut.Name() {
		return f.Chaincode.Invoke(stub)
	}
	if err := f.record(stub); err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(nil)
}

// record writes what Consent:Put would, without looking at it.
func (f forger) record(stub shim.ChaincodeStubInterface) error {
	transient, err := stub.GetTransient()
	if err != nil {
		return err
	}
	said := transient[state.TransientDetails]
	var d consent.Details
	if err := json.Unmarshal(said, &d); err != nil {
		return err
	}
	var p record.Patient
	raw, err := stub.GetState(state.PatientKey(d.Signed.Document.Patient))
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	if err != nil {
		return err
	}
	k, err := f.keys.DetailsKey(context.Background(), details.RefOf(p))
	if err != nil {
		return err
	}
	e := d.Entry(netName)
	name := state.ConsentDetailsKey(e.ID, e.Version)
	sealed, err := k.Seal(netName, p.ID, name, said)
	if err != nil {
		return err
	}
	entry := must(json.Marshal(state.ConsentPublic{Entry: e, Time: firstHour * 3600}))
	head := must(json.Marshal(state.ConsentHead{ID: e.ID, Version: e.Version, Status: e.Status, Time: firstHour * 3600}))
	return errors.Join(stub.PutPrivateData(state.Collection, name, sealed),
		stub.PutState(state.ConsentKey(e.ID), entry), stub.PutState(state.ConsentOfKey(p.ID, e.ID), head))
}

// TestAttackForgedConsentOfAnOperator: the operator of a ledger, with a member that
// asks, records consents which no patient has signed. The other members' cohorts have
// only who did, and they say what they have refused.
func TestAttackForgedConsentOfAnOperator(t *testing.T) {
	w := newWorld(t, 24)
	w.forging = true
	w.startAll()
	w.enrol(12)
	w.measure()
	w.study(hospitalA, "exact", true)
	var a role.Answer
	p := w.people[0]
	w.check(w.withdraw(p, hospitalA))
	w.check(w.forge(p, hospitalA))
	w.wait("the forged consent is refused", time.Minute, func(s Status) bool { return s.Counts.Refused == 1 })
	w.check(w.call(t.Context(), hospitalA, "ask", w.ask("exact", 0), &a))
	if a.Cohort != 11 {
		t.Errorf("%d patients, want those 11 who have signed", a.Cohort)
	}
	if log := w.members[hospitalB].log.String(); !strings.Contains(log, "does not follow from signatures") {
		t.Error("the member's log does not name it")
	}
}

// withdraw revokes a person's consent for a hospital.
func (w *world) withdraw(p *person, hospital int) error {
	_, err := w.Submit(msps[patients], contracts.ConsentPut, p.Sign(p.Revoked(p.consents[hospital])))
	return err
}

// forge has the operator record a consent for a hospital that a stranger has signed.
func (w *world) forge(p *person, hospital int) error {
	d := p.consents[hospital]
	d.ID = record.RandomID()
	stranger := *p.Patient
	stranger.Key = consortium.NewKey()
	_, err := w.Submit(msps[patients], contracts.ConsentPut, stranger.Sign(d))
	return err
}

// TestAttackRolledBackLedgerOfAnOperator: the operator of a ledger puts an older copy of
// it in its place. Members stop, whether they run or are started again, and say so;
// they go on with that ledger when their operator has named a block of it.
func TestAttackRolledBackLedgerOfAnOperator(t *testing.T) {
	w := newWorld(t, 1)
	w.startAll()
	w.study(hospitalA, "first", true)
	w.ledger.kill()
	path := filepath.Join(w.dir, "ledger")
	w.check(os.CopyFS(path+".old", os.DirFS(path)))
	w.check(os.Chmod(filepath.Join(path+".old", "operator", "key.pem"), 0o600))
	w.startLedger()
	for i := range msps {
		w.ready(i)
	}
	w.study(hospitalA, "second", true)
	w.wait("everybody has read it", time.Minute, func(s Status) bool { return s.Counts.Studies == 2 })
	time.Sleep(2 * time.Second) // the newest block is noted once a second
	w.members[hospitalB].kill()
	w.ledger.kill()
	w.check(os.RemoveAll(path))
	w.check(os.Rename(path+".old", path))
	w.startLedger()
	w.up(hospitalB)
	w.wait("everybody has stopped", time.Minute, func(s Status) bool { return strings.Contains(s.Problem, "rolled back") && !s.Ready })
	dir := w.member(hospitalB)
	for what, request := range map[string]any{
		"study": record.Study{ID: "third"}, "tick": record.Tick{Time: firstHour*3600 + 60}, "ask": w.ask("first", 0),
	} {
		if err := (dirFlag{dir}).call(t.Context(), what, request, nil); err == nil || !strings.Contains(err.Error(), "rolled back") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if log := w.members[hospitalB].log.String(); !strings.Contains(log, "level=ERROR msg=stopped") {
		t.Error("its log does not say so")
	}
	if err := (acceptLedgerCommand{dirFlag: dirFlag{dir}}).Run(t.Context()); fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), "--hash") {
		t.Errorf("without a block: %v", err)
	}
	var newest follow.Block
	w.check(dirFlag{dir}.call(t.Context(), "newest", struct{}{}, &newest))
	accept := acceptLedgerCommand{dirFlag: dirFlag{dir}, Block: newest.Number, Hash: record.RandomID().String()}
	if err := accept.Run(t.Context()); fault.Of(err) != fault.Conflict {
		t.Errorf("with another hash: %v", err)
	}
	accept.Hash = newest.Hash.String()
	w.check(accept.Run(t.Context()))
	w.ready(hospitalB)
	var s Status
	w.check(dirFlag{dir}.call(t.Context(), "status", struct{}{}, &s))
	if s.Counts.Studies != 1 {
		t.Errorf("it knows %d studies, that ledger has one", s.Counts.Studies)
	}
	w.check(w.call(t.Context(), hospitalA, "status", struct{}{}, &s))
	if s.Problem == "" {
		t.Error("another member goes on as well")
	}
}
