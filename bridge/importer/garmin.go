package importer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/muktihari/fit/decoder"
	"github.com/muktihari/fit/profile/mesgdef"
	"github.com/muktihari/fit/profile/typedef"
	"github.com/muktihari/fit/proto"

	"github.com/vitalveil/vitalveil/wearable"
)

// Garmin's watches write FIT: a file of messages, whose layout the file itself defines.
func isFIT(p part) bool {
	return len(p.head) >= 12 && (p.head[0] == 12 || p.head[0] == 14) && string(p.head[8:12]) == ".FIT"
}

func readFIT(r *reading, _ part, in *parts) error {
	in.left = maxUnpacked // messages are at most 64 kB by their format
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	w := &watch{reading: r, device: "Garmin", stop: cancel}
	d := decoder.New(in, decoder.WithMesgListener(w), decoder.WithBroadcastOnly())
	for d.Next() {
		_, err := d.DecodeWithContext(ctx)
		if w.failed != nil {
			return w.failed
		}
		if err != nil {
			return damaged(err)
		}
		if w.messages == 0 {
			return damaged(errors.New("no message is in it"))
		}
	}
	return nil
}

// watch takes the messages of one file.
type watch struct {
	*reading
	device   string
	messages int
	full     uint32 // the last whole time, in seconds of FIT
	stop     func()
	failed   error
}

const (
	fitEpoch = 631_065_600 // 1989-12-31 in Unix seconds
	none8    = 0xff
	none16   = 0xffff
)

// OnMesg implements decoder.MesgListener.
func (w *watch) OnMesg(m proto.Message) {
	w.messages++
	if w.failed != nil {
		return
	}
	var err error
	switch m.Num {
	case typedef.MesgNumFileId:
		id := mesgdef.NewFileId(&m)
		w.device = fmt.Sprintf("%s %d", id.Manufacturer, id.Product)
		w.since(id.TimeCreated)
	case typedef.MesgNumMonitoringInfo:
		w.since(mesgdef.NewMonitoringInfo(&m).Timestamp)
	case typedef.MesgNumMonitoring:
		x := mesgdef.NewMonitoring(&m)
		w.since(x.Timestamp)
		if x.Timestamp16 != none16 { // the low half of a time that is later than the last whole one
			w.full += uint32(x.Timestamp16 - uint16(w.full))
		}
		if x.HeartRate != none8 {
			err = w.rate(x.HeartRate)
		}
	case typedef.MesgNumRecord:
		x := mesgdef.NewRecord(&m)
		w.since(x.Timestamp)
		if x.HeartRate != none8 {
			err = w.rate(x.HeartRate)
		}
	case typedef.MesgNumRespirationRate:
		x := mesgdef.NewRespirationRate(&m)
		w.since(x.Timestamp)
		if x.RespirationRate <= 0 || x.RespirationRate == 0x7fff { // moved, off the wrist, none
			w.drop(DropMissing)
			return
		}
		v, _ := wearable.NewDecimal(int64(x.RespirationRate), 2)
		err = w.value("resp_rate", v)
	case typedef.MesgNumSpo2Data:
		x := mesgdef.NewSpo2Data(&m)
		w.since(x.Timestamp)
		err = w.count("spo2", int64(x.ReadingSpo2), none8)
	case typedef.MesgNumBloodPressure:
		x := mesgdef.NewBloodPressure(&m)
		w.since(x.Timestamp)
		err = errors.Join(w.count("bp_systolic", int64(x.SystolicPressure), none16),
			w.count("bp_diastolic", int64(x.DiastolicPressure), none16))
		if x.HeartRate != none8 {
			err = errors.Join(err, w.count("pulse_rate", int64(x.HeartRate), none8))
		}
	}
	if err != nil {
		w.failed = err
		w.stop()
	}
}

// since notes a whole time, if there is one.
func (w *watch) since(t time.Time) {
	if s := t.Unix() - fitEpoch; s > 0 && s < 1<<32-1 {
		w.full = uint32(s)
	}
}

// rate is a heart rate, for which 0 too is "none".
func (w *watch) rate(rate uint8) error { return w.count("heart_rate", int64(rate), none8) }

// count is a whole number, or one that stands for none.
func (w *watch) count(metric string, n, none int64) error {
	if n == 0 || n == none {
		w.drop(DropMissing)
		return nil
	}
	return w.value(metric, wearable.Int(n))
}

func (w *watch) value(metric string, v wearable.Decimal) error {
	at, ok := millis((int64(w.full) + fitEpoch) * 1000)
	if !ok || w.full == 0 {
		w.drop(DropTime)
		return nil
	}
	return w.emit(Reading{Metric: metric, Time: at, Value: v, Device: w.device})
}
