package main

import (
	"encoding/binary"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
)

// sealed is package he: 2 of 3, the default profile.
type sealed struct {
	params  *he.Params
	context he.Context
	keys    []he.PieceKey
	devices map[int]*sealedDevice
	columns *he.Columns    // of metric 0
	stored  map[int][]byte // of an hour, all devices
	cohort  []he.KeySum    // sums of the pieces of the last query's cohort
}

type sealedDevice struct {
	id    record.ID
	seeds []he.Seed
	key   *he.DeviceKey
	rows  map[int][]byte
}

func newSealed(int, int) (scheme, error) {
	sharing, err := he.NewSharing(3, 2)
	if err != nil {
		return nil, err
	}
	params, err := he.New(he.DefaultProfile(), privacy.V1(), sharing)
	if err != nil {
		return nil, err
	}
	s := &sealed{params: params, context: he.Context{Network: "peers"}, devices: map[int]*sealedDevice{}, stored: map[int][]byte{}}
	if s.columns, err = params.Columns(params.Schema().MetricCoefficients(0)); err != nil {
		return nil, err
	}
	for range sharing.Pieces() {
		s.keys = append(s.keys, he.NewPieceKey())
	}
	return s, nil
}

func (s *sealed) device(number int) (*sealedDevice, error) {
	if d := s.devices[number]; d != nil {
		return d, nil
	}
	d := &sealedDevice{id: record.SumID(binary.BigEndian.AppendUint64(nil, uint64(number))), rows: map[int][]byte{}}
	for range s.keys {
		d.seeds = append(d.seeds, he.NewSeed())
	}
	var err error
	d.key, err = s.params.NewDeviceKey(s.context, d.id, d.seeds)
	if err != nil {
		return nil, err
	}
	s.devices[number] = d
	return d, nil
}

// Alone seals the 24 rows of a day that no device has sealed before, so that the
// day's polynomial is derived as well.
func (s *sealed) Alone(day int, row hour) error {
	d, err := s.device(0)
	if err != nil {
		return err
	}
	const later = 1 << 20
	for h := range 24 {
		payloads, err := payloadsOf(s.params.Schema(), row)
		if err != nil {
			return err
		}
		if _, err := s.params.Seal(s.context, d.key, he.Window{Hour: int64(24*(later+day) + h)}, payloads); err != nil {
			return err
		}
	}
	return nil
}

func payloadsOf(schema *privacy.Schema, row hour) ([]privacy.Payload, error) {
	stats := map[int]privacy.HourStats{}
	for slot, h := range row {
		stats[slot] = h
	}
	return schema.Row(stats)
}

func (s *sealed) Seal(device, at int, row hour) (int, error) {
	d, err := s.device(device)
	if err != nil {
		return 0, err
	}
	payloads, err := payloadsOf(s.params.Schema(), row)
	if err != nil {
		return 0, err
	}
	d.rows[at], err = s.params.Seal(s.context, d.key, he.Window{Hour: int64(at)}, payloads)
	return len(d.rows[at]), err
}

// Receive checks the row and stores the part that Ask reads. A server stores all
// nine metrics so; one stands for them.
func (s *sealed) Receive(device, at int) error {
	row := s.devices[device].rows[at]
	err := s.params.CheckRow(row)
	if err == nil {
		s.stored[at], err = s.columns.Append(s.stored[at], row)
	}
	return err
}

func (s *sealed) Ask(q query) (privacy.HourStats, error) {
	var none privacy.HourStats
	coeffs := s.params.Schema().MetricCoefficients(0)
	sum, err := s.params.NewSum(coeffs)
	if err != nil {
		return none, err
	}
	for h := range q.Hours {
		column := s.stored[h%q.PoolHours]
		for left := q.Devices; left > 0 && err == nil; left -= q.Pool {
			err = s.columns.AddTo(sum, column[:min(left, q.Pool)*s.columns.Size()])
		}
	}
	if err != nil {
		return none, err
	}
	if !q.Again {
		if err := s.sumKeys(q); err != nil {
			return none, err
		}
	}
	shares := map[int][]byte{}
	for piece := range s.keys {
		if shares[piece], err = s.share(q, piece, coeffs); err != nil {
			return none, err
		}
	}
	opened, err := s.params.Open(sum, shares)
	if err != nil {
		return none, err
	}
	totals, err := s.params.Schema().Decode(0, opened)
	return totals.HourStats, err
}

// Warm makes the cohort's sums without expanding a device more than once: those of
// the pool, times as often as the pool is in the cohort.
func (s *sealed) Warm(q query) error {
	times := q.Devices / q.Pool
	whole, rest := q, q
	whole.Devices, rest.Devices = q.Pool, q.Devices%q.Pool
	if err := s.sumKeys(whole); err != nil {
		return err
	}
	pool := s.cohort
	s.cohort = nil
	if err := s.sumKeys(rest); err != nil {
		return err
	}
	for piece, sum := range s.cohort {
		for i := range sum {
			sum[i] += int32(times) * pool[piece][i]
		}
	}
	return nil
}

// sumKeys expands every device's pieces and adds them up.
func (s *sealed) sumKeys(q query) error {
	s.cohort = s.cohort[:0]
	for piece := range s.keys {
		sum := s.params.NewKeySum()
		pieces := make([]he.Piece, q.Devices)
		for d := range pieces {
			device := s.devices[d%q.Pool]
			pieces[d] = he.Piece{Device: device.id, Number: piece, Seed: device.seeds[piece]}
		}
		if err := s.params.AddPieces(sum, s.context, pieces); err != nil {
			return err
		}
		s.cohort = append(s.cohort, sum)
	}
	return nil
}

func (s *sealed) share(q query, piece int, coeffs []int) ([]byte, error) {
	windows := make([]he.Window, q.Hours)
	for h := range windows {
		windows[h].Hour = int64(h)
	}
	vector, err := s.params.KeyProduct(s.context, coeffs, []he.KeyGroup{{Windows: windows, Secret: s.cohort[piece]}})
	if err != nil {
		return nil, err
	}
	return s.params.Share(s.keys[piece], he.ShareRequest{
		Network: s.context.Network, Query: "query", Piece: piece, CohortRoot: record.SumID(nil), Coeffs: coeffs, Rows: int64(q.Devices * q.Hours),
	}, vector)
}
