package api

import (
	"context"
	"strconv"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/index"
)

// Status is how the institution is.
type Status struct {
	Member       string        `json:"member"`
	Network      string        `json:"network"`
	LedgerTime   time.Time     `json:"ledger_time"`
	LedgerHeight uint64        `json:"ledger_height" doc:"Blocks that the ledger has."`
	BlocksRead   uint64        `json:"blocks_read"`
	Ready        bool          `json:"ready" doc:"The whole ledger was read, and it is this network's."`
	Problem      string        `json:"problem,omitempty"`
	Devices      int           `json:"devices" doc:"Enrolled, of everybody."`
	DevicesReady int           `json:"devices_ready" doc:"Whose seeds all members hold."`
	Rows         int           `json:"rows" doc:"Anchored rows and days."`
	RowsReady    int           `json:"rows_ready" doc:"That enough members have."`
	Certificates []Certificate `json:"certificates"`
}

// Certificate is until when one of the process's certificates serves.
type Certificate struct {
	Of      string    `json:"of"`
	Until   time.Time `json:"until"`
	Problem string    `json:"problem,omitempty"`
}

// Member is one of the network's.
type Member struct {
	MSP       string `json:"msp"`
	Name      string `json:"name"`
	Registrar bool   `json:"registrar" doc:"Vouches for patients, and may never ask."`
	This      bool   `json:"this"`
}

// Device is what the ledger shows of a device: not whose it is.
type Device struct {
	ID          string         `json:"id"`
	Metrics     []string       `json:"metrics"`
	Ready       bool           `json:"ready"`
	Quarantined string         `json:"quarantined,omitempty" doc:"Why it counts for nothing."`
	Retired     bool           `json:"retired"`
	Hours       int64          `json:"hours" doc:"That have ended since its first."`
	Gaps        int64          `json:"gaps" doc:"Of these, without a row."`
	Refused     int            `json:"refused" doc:"Rows that members found malformed or missing."`
	Flags       map[string]int `json:"flags" doc:"What members have posted, by kind."`
	Votes       int            `json:"votes" doc:"For quarantine, in this round."`
}

type devicePath struct {
	Device string `path:"device" pattern:"^[0-9a-f]{64}$" doc:"The device."`
	Conditional
}

type newVote struct {
	Device string `path:"device" pattern:"^[0-9a-f]{64}$"`
	Body   struct {
		Lift   bool   `json:"lift,omitempty" doc:"Vote that it come out of quarantine."`
		Reason string `json:"reason" minLength:"1" maxLength:"200" doc:"What the others read."`
	}
}

type newFlag struct {
	Device string `path:"device" pattern:"^[0-9a-f]{64}$"`
	Body   struct {
		Kind string `json:"kind" enum:"outlier,proof,pointer"`
		Note string `json:"note" minLength:"1" maxLength:"200" doc:"For people; never about anybody's health."`
	}
}

type changedDevice struct{ Body Device }

func (s *Server) status() {
	read(s, route{path: "/v1/status", id: "status", group: "about", summary: "How the institution is", roles: both}, func(ctx context.Context, _ *Conditional) (Status, error) {
		return s.desk.Status(ctx), nil
	})
	read(s, route{path: "/v1/members", id: "listMembers", group: "about", summary: "The members of the network", roles: both}, s.members)
}

func (s *Server) members(context.Context, *Conditional) (list[Member], error) {
	g, known := s.desk.Index().Genesis()
	if !known {
		return list[Member]{}, fault.New(fault.Unavailable, "the ledger has no genesis document yet")
	}
	out := list[Member]{Items: []Member{}}
	roster := s.desk.Index().Roster()
	for _, m := range roster.Members() {
		out.Items = append(out.Items, Member{m.MSP, m.Name, m.MSP == g.Registrar, m.MSP == s.desk.MSP()})
	}
	return out, nil
}

func (s *Server) devices() {
	read(s, route{path: "/v1/devices", id: "listDevices", group: "devices", summary: "Devices, in the order of their enrolment", roles: operators}, s.listDevices)
	read(s, route{path: "/v1/devices/{device}", id: "getDevice", group: "devices", summary: "A device", roles: operators}, func(_ context.Context, in *devicePath) (Device, error) {
		return s.device(in.Device)
	})
	write(s, route{path: "/v1/devices/{device}/votes", id: "vote", group: "devices", summary: "Vote about a device's quarantine", description: "As many votes as the threshold decide.", roles: operators}, s.vote)
	write(s, route{path: "/v1/devices/{device}/flags", id: "flag", group: "devices", summary: "Say on the ledger what this institution has seen of a device", roles: operators}, s.flag)
}

func (s *Server) listDevices(_ context.Context, in *listed) (list[Device], error) {
	from := 0
	if in.Cursor != "" {
		var err error
		if from, err = strconv.Atoi(in.Cursor); err != nil || from < 0 {
			return list[Device]{}, fault.New(fault.Invalid, "the list does not go on from %q", in.Cursor)
		}
	}
	ix := s.desk.Index()
	ids := ix.DeviceIDs(from)
	out := list[Device]{Items: []Device{}}
	for i, id := range ids {
		if i == in.Limit {
			out.Next = strconv.Itoa(from + i)
			break
		}
		d, err := deviceOf(ix, id)
		if err != nil {
			return out, err
		}
		out.Items = append(out.Items, d)
	}
	return out, nil
}

func deviceOf(ix *index.Index, id record.ID) (Device, error) {
	state, _, ready, known := ix.Device(id)
	if !known {
		return Device{}, fault.New(fault.NotFound, "no device %s", id)
	}
	r, err := ix.Reputation(id)
	if err != nil {
		return Device{}, err
	}
	d := Device{ID: id.String(), Metrics: orNone(state.Device.Metrics), Ready: ready, Retired: state.Retired != nil, Hours: r.Hours, Gaps: r.Gaps, Refused: r.Refused, Flags: r.Flags, Votes: r.Votes}
	if q := state.Quarantined; q != nil {
		d.Quarantined = q.How + ": " + q.Reason
	}
	return d, nil
}

func (s *Server) device(id string) (Device, error) {
	var at record.ID
	if err := at.UnmarshalText([]byte(id)); err != nil {
		return Device{}, fault.New(fault.Invalid, "device: %w", err)
	}
	return deviceOf(s.desk.Index(), at)
}

func (s *Server) vote(ctx context.Context, in *newVote) (*changedDevice, error) {
	v := record.VoteQuarantine{Lift: in.Body.Lift, Reason: in.Body.Reason}
	if err := v.Device.UnmarshalText([]byte(in.Device)); err != nil {
		return nil, fault.New(fault.Invalid, "device: %w", err)
	}
	if err := s.desk.VoteQuarantine(ctx, v); err != nil {
		return nil, err
	}
	d, err := s.device(in.Device)
	return &changedDevice{d}, err
}

func (s *Server) flag(ctx context.Context, in *newFlag) (*changedDevice, error) {
	f := record.FlagDevice{Kind: in.Body.Kind, Note: in.Body.Note}
	if err := f.Device.UnmarshalText([]byte(in.Device)); err != nil {
		return nil, fault.New(fault.Invalid, "device: %w", err)
	}
	if _, err := s.desk.FlagDevice(ctx, f); err != nil {
		return nil, err
	}
	d, err := s.device(in.Device)
	return &changedDevice{d}, err
}
