package index

import (
	"errors"
	"slices"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/wearable"
)

// putPatient enters a patient from the signed enrolment. What is written of a patient
// later follows from changes of keys and from the erasure.
func (pe *people) putPatient(w write) error {
	id, err := w.id(0)
	if err != nil || pe.patients[id] != nil {
		return err
	}
	e, err := argument(w, contracts.RegistryEnrolPatient)
	if err != nil {
		return err
	}
	enrolled, err := state.CheckEnrolment(pe.policy.genesis, pe.policy.current(), e)
	switch {
	case err != nil:
		return doubt(err)
	case enrolled != id:
		return refuse("it is the record of another patient than the one who enrolled")
	case pe.persons[e.Voucher.Person]:
		return refuse("this person is enrolled already, as another patient")
	}
	pe.add(&patient{state: record.Patient{ID: id, Inception: e.Inception, DetailsBlob: e.DetailsBlob, Person: e.Voucher.Person, Enrolled: pe.clock.now}})
	return nil
}

func (pe *people) add(p *patient) {
	pe.patients[p.state.ID] = p
	pe.order = append(pe.order, p.state.ID)
	pe.persons[p.state.Person] = true
}

// owner returns the patient of a record, who is not erased.
func (pe *people) owner(id record.ID) (*patient, error) {
	p := pe.patients[id]
	switch {
	case p == nil:
		return nil, refuse("patient %s is not enrolled", id.Short())
	case p.erased != nil:
		return nil, refuse("patient %s is erased, which is final", id.Short())
	}
	return p, nil
}

// putDevice enters a device from the signed enrolment, or takes what became of it.
func (fl *fleet) putDevice(w write) error {
	id, err := w.id(0)
	if err != nil {
		return err
	}
	if d := fl.devices[id]; d != nil {
		return fl.updateDevice(w, d)
	}
	e, err := argument(w, contracts.RegistryEnrolDevice)
	if err != nil {
		return err
	}
	enrolled, digest, err := state.CheckDevice(fl.policy.genesis.Network, fl.policy.current(), e)
	if err != nil {
		return doubt(err)
	}
	p, err := fl.people.owner(e.Device.Patient)
	switch {
	case err != nil:
		return err
	case enrolled != id:
		return refuse("it is the record of another device than the one that enrolled")
	case consent.SignedByOne(p.state.ConsentKeys(), fl.policy.genesis.RelyingParties, digest, e.PatientSignature, e.PatientAssertion) != nil:
		return refuse("the patient's signature is not by a key that the patient signs with there")
	case e.Device.FirstHour < wearable.HourOf(fl.clock.now):
		return refuse("its first hour %d had passed", e.Device.FirstHour)
	case slices.ContainsFunc(e.Device.SeedHashes, fl.named):
		return refuse("a seed hash of its was used before")
	}
	fl.enrol(p, id, e.Device)
	return nil
}

// named reports whether a device named a seed hash before that has not lost it since
// (chaincode, claim).
func (fl *fleet) named(hash record.ID) bool {
	d := fl.devices[fl.seeds[hash]]
	if d == nil {
		return false
	}
	q := d.state.Quarantined
	return (q == nil || q.How != record.ByEvidence) && fl.people.patients[d.state.Device.Patient].erased == nil
}

func (fl *fleet) enrol(p *patient, id record.ID, d record.Device) {
	from := state.FirstDay(d, len(p.devices) == 0, fl.clock.now)
	fl.add(&device{state: record.DeviceState{
		ID: id, Device: d, DID: state.DIDKey(d.Key), Enrolled: fl.clock.now, FromDay: from,
	}})
}

func (fl *fleet) add(d *device) {
	d.number = uint32(len(fl.order))
	fl.devices[d.state.ID] = d
	fl.order = append(fl.order, d.state.ID)
	fl.link(d)
}

// link notes what follows from a device for its patient and its seeds.
func (fl *fleet) link(d *device) {
	for _, h := range d.state.Device.SeedHashes {
		fl.seeds[h] = d.state.ID
	}
	p := fl.people.patients[d.state.Device.Patient]
	p.devices = append(p.devices, d.state.ID)
	for _, metric := range d.state.Device.Metrics {
		p.designate(fl.names.one(metric), designation{d.state.FromDay, d.state.ID})
	}
}

// designate makes a device the patient's for a metric by the rule of
// state.Designated: the device that begins last counts, and of those that begin
// on one day the one enrolled last. Devices come in the order of their enrolment.
func (p *patient) designate(metric string, d designation) {
	i := slices.IndexFunc(p.designated, func(s schedule) bool { return s.metric == metric })
	if i < 0 {
		p.designated = append(p.designated, schedule{metric, []designation{d}})
		return
	}
	days := p.designated[i].days
	at, found := slices.BinarySearchFunc(days, d.fromDay, func(o designation, day int64) int { return int(o.fromDay - day) })
	if found {
		days[at] = d
		return
	}
	p.designated[i].days = slices.Insert(days, at, d)
}

// devicesFor returns the devices for a metric in order of their first days.
func (p *patient) devicesFor(metric string) []designation {
	for _, s := range p.designated {
		if s.metric == metric {
			return s.days
		}
	}
	return nil
}

// deviceAndMember returns the device that a write is about, and the member of its epoch
// that it is by.
func (fl *fleet) deviceAndMember(w write) (record.ID, *device, string, error) {
	id, err := w.id(0)
	if err != nil {
		return id, nil, "", err
	}
	d := fl.devices[id]
	if d == nil {
		return id, nil, "", refuse("device %s is not enrolled", id.Short())
	}
	member := w.parts[1]
	return id, d, member, fl.policy.seat(w, d.state.Device.Epoch, member)
}

// putAck notes that a member of the device's epoch holds its seeds.
func (fl *fleet) putAck(w write) error {
	id, d, member, err := fl.deviceAndMember(w)
	if err != nil {
		return err
	}
	a, err := argument(w, contracts.RegistryAcknowledgeSeeds)
	if err != nil || !slices.Contains(a.Devices, id) {
		return errors.Join(err, refuse("%s has not acknowledged this device's seeds", member))
	}
	if !slices.Contains(d.acks, member) {
		d.acks = append(d.acks, fl.names.one(member))
	}
	return nil
}

// putPieceKey takes the key of a piece from the holder that made and signed it, and
// takes it back on evidence. Of a key of anybody else's making the maker would know
// the piece's share of the privacy noise.
func (po *policy) putPieceKey(w write) error {
	s, err := decode[record.PieceKeyState](w)
	if err != nil {
		return err
	}
	by := w.tx.Creator.MSP
	if err := po.seat(w, s.Epoch, by); err != nil {
		return err
	}
	epoch := po.epochs[s.Epoch].Epoch
	if !state.Holds(&epoch, s.Piece, by) {
		return refuse("%s does not hold piece %d", by, s.Piece)
	}
	place := pieceOf{s.Epoch, s.Piece}
	next := PieceKey{State: po.pieceKeys[place].State, At: w.at}
	next.State.Epoch, next.State.Piece = s.Epoch, s.Piece
	if s.Posted != nil {
		err = po.postKey(&next.State, &epoch, by, *s.Posted)
	} else {
		err = po.takeKeyBack(&next.State, &epoch, by, s.Faulty)
	}
	if err != nil {
		return err
	}
	po.pieceKeys[place] = next
	return nil
}

func (po *policy) postKey(s *record.PieceKeyState, epoch *record.Epoch, by string, p record.PostedKey) error {
	k := p.Key
	if s.Posted != nil || p.By != by || s.MadeBy(by) || k.Epoch != s.Epoch || k.Piece != s.Piece || k.Round != len(s.Faulty) {
		return refuse("it is not the next key of piece %d", s.Piece)
	}
	s.Posted = &p
	return doubt(state.CheckPieceKey(po.genesis.Network, epoch, p))
}

func (po *policy) takeKeyBack(s *record.PieceKeyState, epoch *record.Epoch, holder string, faulty []record.FaultyKey) error {
	if s.Posted == nil || len(faulty) != len(s.Faulty)+1 {
		return refuse("there is no key of piece %d to take back", s.Piece)
	}
	proof := faulty[len(faulty)-1].Proof
	found, err := state.ExamineKey(po.genesis.Network, epoch, *s.Posted, holder, proof)
	if err != nil {
		return refuse("%v", err)
	}
	s.Faulty = append(slices.Clone(s.Faulty), record.FaultyKey{Posted: *s.Posted, Holder: holder, Reason: string(found), Proof: proof})
	s.Posted = nil
	return nil
}
