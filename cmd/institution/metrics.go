package institution

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network/site"
)

// metrics counts what the institution has read of its ledger. Nothing in it tells about
// one patient.
func (p *Process) metrics() *prometheus.Registry {
	r := site.NewRegistry()
	gauge := func(name, help string, value func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "vitalveil", Subsystem: "institution", Name: name, Help: help}, value))
	}
	gauge("blocks_read", "Blocks of the ledger that were read.", func() float64 { return float64(p.Index().Height()) })
	gauge("ledger_time_seconds", "Ledger time, Unix seconds.", func() float64 { return float64(p.Index().Time()) })
	gauge("patients", "Patients enrolled.", func() float64 { return float64(p.Index().Counts().Patients) })
	gauge("devices_ready", "Devices whose seeds all members hold.", func() float64 { return float64(p.Index().Counts().Ready) })
	gauge("pointers", "Rows and days anchored.", func() float64 { return float64(p.Index().Counts().Pointers) })
	gauge("pointers_available", "Rows and days that enough members have.", func() float64 { return float64(p.Index().Counts().Available) })
	gauge("records_refused", "Records of the ledger that do not follow from signatures.", func() float64 { return float64(p.Index().Counts().Refused) })
	gauge("stopped", "1 where the institution does nothing, because of its ledger.", func() float64 {
		if p.Stopped() != nil {
			return 1
		}
		return 0
	})
	return r
}

// ready says what is missing before the institution can answer.
func (p *Process) ready(ctx context.Context) error {
	if s := p.status(ctx); !s.Ready {
		return fault.New(fault.Unavailable, "%d of %d blocks read %s", s.Read, s.Height, s.Problem)
	}
	return nil
}
