// Package demo runs the whole of Vitalveil in one process on loopback: simulated
// sensors over the real GATT stack, bridges, gateway, ledger and three
// institutions. It enrols patients, lets them consent over REST, replays their
// vitals, asks statistics and claims, and shows what each party saw.
//
// Entry points: Command is "vitalveil demo"; Run is the same for tests.
//
// Trust: none is separated from any other here. All parties share a process, so
// the demo shows the protocol and protects nobody.
package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/consensys/gnark/logger"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/internal/web"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/wearable/recording"
)

// Command is "vitalveil demo".
type Command struct {
	Options `embed:""`
	Noise   string `help:"Privacy noise in the answers: on, or off for an exact study." enum:"on,off" default:"on"`
}

// Run runs the command.
func (c Command) Run(ctx context.Context) error {
	c.Exact, c.Out = c.Noise == "off", os.Stdout
	return Run(ctx, c.Options)
}

// Options are the settings of a run: those of the command, and what tests set besides.
type Options struct {
	Once   bool     `help:"End after the report instead of showing it on --listen until interrupted."`
	Replay string   `help:"Replay the *.csv and *.csv.gz files below this directory (columns subject,t_seconds,metric,value,unit) instead of synthetic patients." type:"path" placeholder:"DIR"`
	Report string   `help:"Also write the answers and costs to this file, as JSON." type:"path" placeholder:"FILE"`
	Ledger string   `help:"The ledger: embedded in this process, or fabric: a real Hyperledger Fabric network of native processes, built on first use." enum:"embedded,fabric" default:"embedded"`
	Listen string   `help:"Where gateway and page listen. Default: 127.0.0.1:8080, or a free port with --once." placeholder:"ADDR"`
	Unit   string   `help:"What statistics are about: person, a value for each person and day, or minute. Default: person; with --noise off both, in two networks one after the other, since an exact answer about one uses up the other." enum:"person,minute," default:""`
	Schema string   `help:"What sealed rows carry: vitals-v1, minutes of the nine metrics, vitals-v2, pairs of metrics and four metrics by age and sex besides, or vitals-v3, people's days beside the minutes." enum:"vitals-v1,vitals-v2,vitals-v3" default:"vitals-v3"`
	Ask    []string `help:"Ask these questions instead of all: metrics (\"vitalveil metrics\"), pairs such as heart_rate*resp_rate and metrics by stratum such as spo2@stratum, of people or, with --schema vitals-v2, of minutes." placeholder:"QUESTION"`
	Claims []string `name:"claim" help:"Ask this claim instead of two of the demo's own; may be repeated. Such as \"synthetic-001: on 2025-01-01, heart rate was between 50 and 90 /min in at least 600 of the 1440 minutes 00:00-24:00 UTC\"." placeholder:"SUBJECT: CLAIM" sep:"none"`
	State  string   `help:"Directory for everything that is kept, new or empty. Default: a fresh temporary one." type:"path" placeholder:"DIR"`

	Exact bool `kong:"-"` // ask in an exact study
	// Chaincode is the command that serves the contracts to Fabric; default: this
	// program with the argument "chaincode".
	Chaincode []string `kong:"-"`
	Keys      string   `kong:"-"` // directory of the proving keys; default below State, or the user's cache
	// People and Hours size the synthetic source; 0 stands for 200 and 24.
	People int `kong:"-"`
	Hours  int `kong:"-"`
	// Stored lets sensors keep the readings of every third minute to themselves and
	// deliver them when the hours they belong to are sealed.
	Stored bool      `kong:"-"`
	Out    io.Writer `kong:"-"`
}

// LedgerFabric is the value of Options.Ledger for Hyperledger Fabric.
const LedgerFabric = "fabric"

// stateVersion is the layout of the state directory. A newer one is refused.
const stateVersion = 1

// Run runs the demo and returns when it is over: after the report with Once, else
// when ctx ends.
func Run(ctx context.Context, o Options) error {
	_, _, err := run(ctx, o)
	return err
}

// run lives through the source once for each unit, in a network of its own, and returns
// the worlds, closed, and what was seen in all.
func run(ctx context.Context, o Options) ([]*world, *View, error) {
	units, err := o.units()
	if err != nil {
		return nil, nil, err
	}
	var worlds []*world
	var view *View
	for i, unit := range units {
		o.Unit = unit
		w, v, err := execute(ctx, o, view)
		worlds, view = append(worlds, w), v
		if err == nil && i == len(units)-1 {
			err = finish(ctx, o, w, view)
		}
		if err = errors.Join(err, w.close()); err != nil {
			return worlds, view, err
		}
		// A second network is kept beside what the first one has kept.
		o.Keys, o.State = keysDirectory(o, w.dir), filepath.Join(w.dir, "second")
	}
	return worlds, view, nil
}

// execute brings a world up and lets it live through the source, after another that saw
// before, or nil. The world is still running on return and must be closed, also after an
// error.
func execute(ctx context.Context, o Options, before *View) (*world, *View, error) {
	p := newProgress(o.Out)
	w := &world{progress: p, daily: o.Unit == UnitPerson}
	logger.Disable() // gnark's, which would print between our lines
	src, err := source(o)
	if err != nil {
		return w, nil, err
	}
	if first, last := src.Span(); last-first >= privacy.MaxHours-24 {
		return w, nil, fmt.Errorf("%s spans %d days, and one query covers at most %d: replay a part of it", src.Name, (last-first)/24+1, privacy.MaxHours/24-1)
	}
	p.line("%s: %d subjects, %d readings", src.Name, len(src.People), src.Readings())
	if len(src.Ignored) > 0 {
		p.line("ignored, not in the table of metrics: %s", strings.Join(src.Ignored, ", "))
	}
	if w.dir, err = stateDirectory(o.State); err != nil {
		return w, nil, err
	}
	p.line("state directory: %s", w.dir)
	if err := w.readClaims(src, o.Claims); err != nil {
		return w, nil, err
	}
	if err := w.loadKeys(keysDirectory(o, w.dir)); err != nil {
		return w, nil, err
	}
	l, err := listen(o)
	if err != nil {
		return w, nil, err
	}
	var page atomic.Pointer[View]
	view, err := w.run(ctx, o, src, l, pageHandler(&page, l.Addr()))
	if err == nil && before != nil {
		view = before.and(view)
	}
	page.Store(view)
	return w, view, err
}

// finish prints and writes what was learned, and waits unless it is to end.
func finish(ctx context.Context, o Options, w *world, v *View) error {
	if o.Report != "" {
		if err := v.Report.Write(o.Report); err != nil {
			return err
		}
		w.progress.line("report written to %s", o.Report)
	}
	if err := web.Text(o.Out, v.Sections); err != nil {
		return err
	}
	if o.State == "" {
		w.progress.line("everything is kept in %s, for you to look at and delete", w.dir)
	}
	if o.Once {
		return nil
	}
	w.progress.line("the same is shown at %s; interrupt to end", w.url)
	<-ctx.Done()
	return nil
}

func source(o Options) (*recording.Source, error) {
	if o.Replay != "" {
		return recording.Load(o.Replay)
	}
	return recording.Synthesize(cmp.Or(o.People, 200), cmp.Or(o.Hours, 24)), nil
}

// stateDirectory makes or checks the directory for everything kept.
func stateDirectory(dir string) (string, error) {
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "vitalveil-demo-"); err != nil {
			return "", err
		}
	}
	fresh, err := state.Claim(dir, stateVersion, keysName)
	if err == nil && !fresh {
		err = fmt.Errorf("%s holds an earlier run: look at it with \"vitalveil verify --state %s\", and name an empty directory for a new one", dir, dir)
	}
	return dir, err
}

const keysName = "keys"

// keysDirectory is where the proving keys are cached: below a state directory
// that was named, else in the user's cache, so that they are made once.
func keysDirectory(o Options, dir string) string {
	if o.Keys != "" {
		return o.Keys
	}
	if o.State == "" {
		if cache, err := os.UserCacheDir(); err == nil {
			return filepath.Join(cache, "vitalveil", keysName)
		}
	}
	return filepath.Join(dir, keysName)
}

func listen(o Options) (net.Listener, error) {
	addr := o.Listen
	if addr == "" {
		addr = "127.0.0.1:8080"
		if o.Once {
			addr = "127.0.0.1:0"
		}
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w; choose another address with --listen", err)
	}
	return l, nil
}

// run brings the world up, lets it live, and asks.
func (w *world) run(ctx context.Context, o Options, src *recording.Source, l net.Listener, page http.Handler) (*View, error) {
	first, last := src.Span()
	w.firstHour, w.untilHour = first, (wearable.FloorDiv(last, 24)+1)*24
	w.refuser, w.revoker = extras(src)
	w.stored = o.Stored
	if err := newWorld(ctx, w, o, l, page); err != nil {
		return nil, err
	}
	w.progress.line("three institutions, gateway and ledger are up; the gateway listens on %s", w.url)
	if err := w.tick(ctx, w.firstHour*3600); err != nil {
		return nil, err
	}
	people, err := w.enrolAll(ctx, append(slices.Clone(src.People), w.refuser, w.revoker))
	if err != nil {
		return nil, err
	}
	w.people = people
	if err := w.live(ctx, people); err != nil {
		return nil, err
	}
	questions, err := w.plan(w.questions(src, o), o.Exact)
	if err != nil {
		return nil, err
	}
	got, err := w.askStatistics(ctx, questions, o.Exact)
	if err != nil {
		return nil, err
	}
	claims := w.claims(people)
	if len(w.said) > 0 {
		if claims, err = w.sayClaims(people); err != nil {
			return nil, err
		}
	}
	if err := w.askPredicates(ctx, claims); err != nil {
		return nil, err
	}
	w.stand(got)
	r := w.report(src, o.Exact, got, claims)
	r.Cost.PeakRSSMB = peakRSS()
	r.Cost.TotalMillis = time.Since(w.progress.start).Milliseconds()
	return w.view(ctx, r, got, claims, people)
}

// live connects everybody's sensors, plays the source, has the one revoke and
// waits until all that was anchored counts.
func (w *world) live(ctx context.Context, people []*person) error {
	err := w.each(ctx, people, func(p *person, ctx context.Context) error {
		if p.device == nil {
			return nil
		}
		return w.wear(ctx, p)
	})
	if err != nil {
		return err
	}
	if err := w.play(ctx, people); err != nil {
		return err
	}
	if err := w.each(ctx, people, func(p *person, _ context.Context) error { return p.unwear() }); err != nil {
		return err
	}
	for _, p := range people {
		if p.Person == w.revoker {
			if err := w.revoke(ctx, p); err != nil {
				return fmt.Errorf("revoking: %w", err)
			}
			w.progress.line("%s revoked before the first query", p.ID)
		}
	}
	return w.settleOutbox(ctx)
}

// receiptsWithin bounds how long institutions may take to look at the last rows.
const receiptsWithin = 5 * time.Minute

// settleOutbox syncs until every pointer has a receipt.
func (w *world) settleOutbox(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, receiptsWithin)
	defer cancel()
	for {
		r, err := w.hub.Sync(ctx)
		if err != nil {
			return fmt.Errorf("fetching receipts: %w", err)
		}
		if len(r.Refused) > 0 {
			return fmt.Errorf("the ledger refused %d pointers, the first: %+v", len(r.Refused), r.Refused[0])
		}
		if r.Awaited == 0 && r.Waiting == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d pointers have no receipt after %s: %w", r.Awaited, receiptsWithin, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
