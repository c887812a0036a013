package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/internal/fault"
)

// run serves sources and commands, and does a round every now and then, until ctx ends.
func (h *hub) run(ctx context.Context, dir dirFlag, log *slog.Logger) error {
	control, err := dir.control().Listen()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.commands().Serve(ctx, control) })
	if h.cfg.Listen != "" {
		sources, err := listenFor(string(h.cfg.Listen))
		if err != nil {
			return errors.Join(err, control.Close())
		}
		g.Go(func() error { return h.sourceCommands().Serve(ctx, sources) })
	}
	g.Go(func() error { return h.cfg.Observe(ctx, h.metrics(), h.ready) })
	g.Go(func() error { return h.sensors.run(ctx, log) })
	g.Go(func() error {
		h.rounds(ctx, log)
		return nil
	})
	log.Info("running", "network", h.genesis.Network, "devices", len(h.Devices()), "gateway", h.cfg.Gateway)
	return g.Wait()
}

// listenFor takes the socket of sources, for the hub's user only.
func listenFor(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("socket of sources: %w", err)
	}
	return l, os.Chmod(path, 0o600)
}

// rounds does one round after the other. What fails is told once, and tried again.
func (h *hub) rounds(ctx context.Context, log *slog.Logger) {
	said := ""
	for ctx.Err() == nil {
		r, err := h.sync(ctx, nil)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && err.Error() != said:
			said = err.Error()
			log.Warn("a round is not complete; trying again", "err", said)
		case err == nil && said != "":
			said = ""
			log.Info("rounds are complete again")
		}
		if r.Anchored+r.Receipts+r.Refused > 0 {
			log.Info("sent", "anchored", r.Anchored, "receipts", r.Receipts, "refused", r.Refused, "waiting", r.Waiting)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(h.cfg.Every) * time.Second):
		}
	}
}

// ready says what is missing.
func (h *hub) ready(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.last.contact.IsZero() && h.last.problem != nil:
		return h.last.problem
	case h.last.contact.IsZero():
		return fault.New(fault.Unavailable, "the gateway has not been reached yet")
	}
	return nil
}

// dropsOf counts what was left out, by reason.
type dropsOf struct{ hub *hub }

var droppedReadings = prometheus.NewDesc("vitalveil_bridge_dropped", "Readings and parts of notifications that were left out since the device was made.", []string{"reason"}, nil)

// Describe implements prometheus.Collector.
func (dropsOf) Describe(to chan<- *prometheus.Desc) { to <- droppedReadings }

// Collect implements prometheus.Collector.
func (d dropsOf) Collect(to chan<- prometheus.Metric) {
	all := map[string]uint64{}
	for _, device := range d.hub.Devices() {
		for why, n := range leftOutOf(device.Counts(), device.Sensors().Dropped()) {
			all[why] += n
		}
	}
	for why, n := range all {
		to <- prometheus.MustNewConstMetric(droppedReadings, prometheus.CounterValue, float64(n), why)
	}
}

// metrics are numbers about the hub, none about a patient.
func (h *hub) metrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	gauge := func(name, help string, value func(hubStatus, lastRound) float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "vitalveil", Subsystem: "bridge", Name: name, Help: help}, func() float64 {
			s, err := h.status(context.Background(), nil)
			if err != nil {
				return -1
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			return value(s, h.last)
		}))
	}
	sum := func(of func(deviceStatus) int) func(hubStatus, lastRound) float64 {
		return func(s hubStatus, _ lastRound) float64 {
			n := 0
			for _, d := range s.Devices {
				n += of(d)
			}
			return float64(n)
		}
	}
	gauge("devices", "Devices of this hub.", sum(func(deviceStatus) int { return 1 }))
	gauge("devices_retired", "Devices that may never seal again.", sum(func(d deviceStatus) int { return min(len(d.Retired), 1) }))
	gauge("waiting", "Rows and days that are not on the ledger.", sum(func(d deviceStatus) int { return d.Waiting }))
	gauge("minutes_after_day", "Minutes that count in hours and are dropped from their day, which was committed before they came.", sum(func(d deviceStatus) int { return int(d.Counts.AfterDay) }))
	gauge("refused", "Pointers that were refused and are offered again.", sum(func(d deviceStatus) int { return len(d.Refused) }))
	gauge("sensors_connected", "Sensors that are connected now.", func(s hubStatus, _ lastRound) float64 {
		n := 0
		for _, x := range s.Sensors {
			if x.Connected {
				n++
			}
		}
		return float64(n)
	})
	gauge("sensors_battery_least", "The lowest battery of all sensors, in per cent; 100 where none says.", func(s hubStatus, _ lastRound) float64 {
		least := 100
		for _, x := range s.Sensors {
			if x.Battery >= 0 {
				least = min(least, x.Battery)
			}
		}
		return float64(least)
	})
	gauge("metrics_silent", "Enrolled metrics that nothing has measured for a day, or ever.", sum(func(d deviceStatus) int {
		n := 0
		for _, m := range d.Readings {
			n += min(len(m.Problem), 1)
		}
		return n
	}))
	gauge("gap_minutes", "Minutes of the last day without a reading, of all enrolled metrics.", sum(func(d deviceStatus) int {
		n := 0
		for _, m := range d.Readings {
			n += m.Gaps
		}
		return n
	}))
	gauge("reading_seconds", "Unix time of the latest minute with a reading of any metric.", func(s hubStatus, _ lastRound) float64 {
		last := int64(0)
		for _, d := range s.Devices {
			for _, m := range d.Readings {
				last = max(last, m.Last)
			}
		}
		return float64(last)
	})
	r.MustRegister(dropsOf{h})
	gauge("contact_seconds", "Unix time of the last round that reached the gateway.", func(s hubStatus, _ lastRound) float64 { return float64(s.Contact) })
	gauge("rounds", "Rounds since the start.", func(_ hubStatus, l lastRound) float64 { return float64(l.rounds) })
	gauge("rounds_failed", "Rounds since the start that were not complete.", func(_ hubStatus, l lastRound) float64 { return float64(l.failed) })
	return r
}
