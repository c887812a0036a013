package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	role "github.com/vitalveil/vitalveil/bridge"
	"github.com/vitalveil/vitalveil/bridge/radio"
	"github.com/vitalveil/vitalveil/bridge/radio/bluez"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network/site"
)

const (
	sensorsFile = "sensors.json"
	maxSensors  = 64
	scanTime    = 15 * time.Second
	pairTime    = 2 * time.Minute
)

// sensorEntry is a sensor that the hub keeps connected.
type sensorEntry struct {
	Address string `json:"address"`
	Device  string `json:"device,omitempty"` // beginning of its identifier; empty: the only one
}

// sensors keeps sensors connected, each in a goroutine of its own.
type sensors struct {
	hub  *hub
	path string
	pool *radio.Pool
	log  *slog.Logger

	mu      sync.Mutex
	list    []sensorEntry
	states  map[string]radio.State
	missing map[string]error
	cancel  map[string]context.CancelFunc
	ctx     context.Context // nil while the hub does not run
	running sync.WaitGroup
}

func openSensors(h *hub, dir string) (*sensors, error) {
	s := &sensors{
		hub: h, path: filepath.Join(dir, sensorsFile), log: slog.New(slog.DiscardHandler),
		states: map[string]radio.State{}, missing: map[string]error{}, cancel: map[string]context.CancelFunc{},
	}
	s.pool = radio.NewPool(h.cfg.openRadio)
	err := site.Load(s.path, &s.list)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return s, err
}

// openRadio opens the radio that the configuration names.
func (c Config) openRadio(ctx context.Context) (radio.Radio, error) {
	if c.Radio != radioBlueZ {
		return nil, fmt.Errorf("%w: the configuration names none (\"radio\" in %s, such as \"bluez\")", radio.ErrNoRadio, configFile)
	}
	return bluez.Open(ctx, c.Bus, c.Adapter)
}

// run keeps sensors connected until ctx ends.
func (s *sensors) run(ctx context.Context, log *slog.Logger) error {
	s.mu.Lock()
	s.ctx, s.log = ctx, log
	for _, e := range s.list {
		s.start(e)
	}
	s.mu.Unlock()
	<-ctx.Done()
	s.running.Wait()
	return s.pool.Close()
}

// start is called with mu held.
func (s *sensors) start(e sensorEntry) {
	if s.ctx == nil || s.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.cancel[e.Address] = cancel
	s.running.Go(func() {
		s.pool.Keep(ctx, e.Address, func(ctx context.Context, l radio.Link) (time.Duration, error) { return s.serve(ctx, e, l) },
			func(state radio.State) { s.told(e.Address, state) })
	})
}

// serve has a device take what a sensor sends until the connection ends.
func (s *sensors) serve(ctx context.Context, e sensorEntry, l radio.Link) (time.Duration, error) {
	d, err := s.hub.device(e.Device)
	if err != nil {
		return 0, err
	}
	session, err := d.Connect(ctx, l, e.Address)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	s.missing[e.Address] = session.Missing()
	s.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-session.Done():
	}
	err = errors.Join(session.Err(), session.Close())
	return session.Useful(), err
}

// told notes how it stands with a sensor, and logs what is new.
func (s *sensors) told(address string, state radio.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.states[address]
	s.states[address] = state
	switch {
	case state.Connected:
		s.log.Info("connected", "sensor", address)
	case state.Problem != nil && (old.Problem == nil || old.Problem.Error() != state.Problem.Error()):
		s.log.Warn("a sensor is away; trying again", "sensor", address, "err", state.Problem)
	}
}

// keep adds a sensor, or says for which device it is.
func (h *hub) keep(_ context.Context, e *sensorEntry) (none, error) {
	s := h.sensors
	if _, err := h.device(e.Device); err != nil {
		return none{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(s.list), func(x sensorEntry) bool { return strings.EqualFold(x.Address, e.Address) })
	if len(list) == maxSensors {
		return none{}, fault.New(fault.Invalid, "a hub keeps at most %d sensors", maxSensors)
	}
	return none{}, s.become(append(list, *e), e.Address, func() { s.start(*e) })
}

// drop forgets a sensor.
func (h *hub) drop(_ context.Context, e *sensorEntry) (none, error) {
	s := h.sensors
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(s.list), func(x sensorEntry) bool { return strings.EqualFold(x.Address, e.Address) })
	if len(list) == len(s.list) {
		return none{}, fault.New(fault.NotFound, "the hub keeps no sensor %s", e.Address)
	}
	return none{}, s.become(list, e.Address, func() { delete(s.states, e.Address) })
}

// become is called with mu held.
func (s *sensors) become(list []sensorEntry, address string, then func()) error {
	if err := site.Save(s.path, list); err != nil {
		return err
	}
	if cancel := s.cancel[address]; cancel != nil {
		cancel()
	}
	s.list = list
	then()
	return nil
}

// sensorChange is what a person says about sensors.
type sensorChange struct {
	Device string   `json:"device,omitempty"`
	Metric string   `json:"metric,omitempty"` // whose sources are put in order
	Order  []string `json:"order,omitempty"`
	Sensor string   `json:"sensor,omitempty"` // whose user number is set, or clock forgotten
	User   *uint8   `json:"user,omitempty"`
}

func (h *hub) change(_ context.Context, c *sensorChange) (none, error) {
	d, err := h.device(c.Device)
	if err != nil {
		return none{}, err
	}
	switch {
	case c.Metric != "":
		err = d.Sensors().Prefer(c.Metric, c.Order...)
	case c.User != nil:
		err = d.Sensors().SetUser(c.Sensor, *c.User)
	default:
		err = d.Sensors().ForgetClock(c.Sensor)
	}
	if err != nil {
		err = fault.New(fault.Invalid, "%w", err)
	}
	return none{}, err
}

// sensorStatus is how it stands with a sensor that the hub keeps.
type sensorStatus struct {
	Address   string `json:"address"`
	Connected bool   `json:"connected"`
	Since     int64  `json:"since,omitempty"` // Unix seconds
	Battery   int    `json:"battery"`         // per cent; -1: it does not say
	Problem   string `json:"problem,omitempty"`
	Missing   string `json:"missing,omitempty"`
}

func (s *sensors) status() []sensorStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []sensorStatus{}
	for _, e := range s.list {
		state := s.states[e.Address]
		one := sensorStatus{Address: e.Address, Connected: state.Connected, Battery: -1}
		if !state.Since.IsZero() {
			one.Since = state.Since.Unix()
		}
		if state.Problem != nil {
			one.Problem = state.Problem.Error()
		}
		if err := s.missing[e.Address]; err != nil {
			one.Missing = err.Error()
		}
		if d, err := s.hub.device(e.Device); err == nil {
			if b, ok := d.Sensors().Battery(e.Address); ok {
				one.Battery = int(b)
			}
		}
		list = append(list, one)
	}
	return list
}

// metricStatus is where a device's readings of a metric come from.
type metricStatus struct {
	Metric  string         `json:"metric"`
	Last    int64          `json:"last,omitempty"` // Unix seconds of the latest minute; 0: none
	Gaps    int            `json:"gaps"`           // minutes without a reading in the last 24 hours
	Problem string         `json:"problem,omitempty"`
	Sources []sourceStatus `json:"sources"` // the first goes before the others
}

type sourceStatus struct {
	Name string `json:"name"`
	Last int64  `json:"last,omitempty"`
}

// silentTime is after how long without a reading a metric is said to have none.
const silentTime = 24 * time.Hour

func metricsOf(d *role.Device) ([]metricStatus, error) {
	var list []metricStatus
	present, err := presentMinutes(d)
	if err != nil {
		return nil, err
	}
	for _, metric := range d.Document().Metrics {
		m := metricStatus{Metric: metric, Gaps: 24*60 - present[metric], Sources: []sourceStatus{}}
		for _, s := range d.Sensors().Sources(metric) {
			m.Sources = append(m.Sources, sourceStatus{s.Name, s.Last * 60})
			m.Last = max(m.Last, s.Last*60)
		}
		switch {
		case m.Last == 0:
			m.Problem = "consented, but no sensor: nothing has ever measured it"
		case d.MinuteNow()-m.Last/60 > int64(silentTime/time.Minute):
			m.Problem = "no data since " + clock(m.Last)
		}
		list = append(list, m)
	}
	return list, nil
}

// presentMinutes counts the minutes of the last 24 hours that have readings, by metric.
func presentMinutes(d *role.Device) (map[string]int, error) {
	first := d.MinuteNow() - 24*60 + 1
	hours, err := d.Hours(floorHour(first), floorHour(first+24*60)+1)
	present := map[string]int{}
	for _, h := range hours {
		for i, code := range h.Codes {
			if m := h.Hour*60 + int64(i); code != 0 && m >= first && m < first+24*60 {
				present[h.Metric.Key]++
			}
		}
	}
	return present, err
}

func floorHour(minute int64) int64 { return (minute - (minute%60+60)%60) / 60 }

type sensorsCommand struct {
	dirFlag
	Device      string            `help:"The device, by the beginning of its identifier; needed where the hub has more than one."`
	Prefer      map[string]string `help:"Put a metric's sources in order, separated by commas: a minute counts the first that measured in it. Example: --prefer 'heart_rate=C6:00:00:00:00:01,Annas Uhr'." placeholder:"METRIC=SOURCES" mapsep:";"`
	User        map[string]uint8  `help:"The patient's number in a sensor that several people use. Example: --user C6:00:00:00:00:01=2." placeholder:"SENSOR=N" mapsep:";"`
	ForgetClock string            `help:"Learn a sensor's clock again, after it or the hub's was set." placeholder:"SENSOR"`
	Drop        string            `help:"Keep this sensor connected no more." placeholder:"ADDRESS"`
	JSON        bool              `help:"Print JSON."`
}

// Run changes what is asked for, and shows what is.
func (c sensorsCommand) Run(ctx context.Context) error {
	var changes []sensorChange
	for metric, order := range c.Prefer {
		changes = append(changes, sensorChange{Device: c.Device, Metric: metric, Order: strings.Split(order, ",")})
	}
	for sensor, user := range c.User {
		changes = append(changes, sensorChange{Device: c.Device, Sensor: sensor, User: &user})
	}
	if c.ForgetClock != "" {
		changes = append(changes, sensorChange{Device: c.Device, Sensor: c.ForgetClock})
	}
	for _, x := range changes {
		if _, err := ask(ctx, c.dirFlag, "change", &x, (*hub).change); err != nil {
			return err
		}
	}
	if c.Drop != "" {
		if _, err := ask(ctx, c.dirFlag, "drop", &sensorEntry{Address: c.Drop}, (*hub).drop); err != nil {
			return err
		}
	}
	s, err := ask(ctx, c.dirFlag, "status", &none{}, (*hub).status)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(s)
	}
	for _, x := range s.Sensors {
		x.print()
	}
	for _, d := range s.Devices {
		fmt.Printf("device %s of patient %s\n", d.ID, d.Patient)
		d.printMetrics()
	}
	return nil
}

func (s sensorStatus) print() {
	state := "not connected"
	if s.Connected {
		state = "connected"
	}
	if s.Since != 0 {
		state += " since " + clock(s.Since)
	}
	if s.Battery >= 0 {
		state += ", battery " + strconv.Itoa(s.Battery) + " %"
	}
	fmt.Printf("sensor %s: %s\n", s.Address, state)
	for _, problem := range []string{s.Problem, s.Missing} {
		if problem != "" {
			fmt.Printf("  %s\n", strings.ReplaceAll(problem, "\n", "; "))
		}
	}
}

func (d deviceStatus) printMetrics() {
	for _, m := range d.Readings {
		fmt.Printf("  %s: ", m.Metric)
		switch {
		case m.Problem != "":
			fmt.Print(m.Problem)
		default:
			fmt.Printf("last reading %s, %d of the last 1440 minutes missing", clock(m.Last), m.Gaps)
		}
		for i, s := range m.Sources {
			if i == 0 {
				fmt.Print("; from ")
			} else {
				fmt.Print(", then ")
			}
			fmt.Printf("%q", s.Name)
		}
		fmt.Println()
	}
}

type pairCommand struct {
	dirFlag
	Address string `arg:"" optional:"" help:"The sensor's address. Without one, the sensors that are near are listed."`
	Device  string `help:"The device that takes its readings, by the beginning of its identifier; needed where the hub has more than one."`
	User    *uint8 `help:"The patient's number in the sensor, where several people use it."`
	NoBond  bool   `help:"Only keep it connected: for sensors that know no bond, such as most heart rate straps."`
}

// Help says what happens.
func (pairCommand) Help() string {
	return `Have the sensor near and awake. Where it shows a number, you are asked for it. From then on
the running hub keeps the sensor connected, and connects again when it comes back.`
}

// Run pairs, or lists what there is.
func (c pairCommand) Run(ctx context.Context) error {
	cfg, err := load(c.Dir)
	if err != nil {
		return err
	}
	r, err := cfg.openRadio(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	if c.Address == "" {
		return list(ctx, r)
	}
	if !c.NoBond {
		ctx, cancel := context.WithTimeout(ctx, pairTime)
		defer cancel()
		if err := r.Pair(ctx, c.Address, shownNumber); err != nil {
			return err
		}
	}
	if _, err := ask(ctx, c.dirFlag, "keep", &sensorEntry{c.Address, c.Device}, (*hub).keep); err != nil {
		return err
	}
	if c.User != nil {
		if _, err := ask(ctx, c.dirFlag, "change", &sensorChange{Device: c.Device, Sensor: c.Address, User: c.User}, (*hub).change); err != nil {
			return err
		}
	}
	_, err = fmt.Printf("the hub keeps sensor %s connected\n", c.Address)
	return err
}

// list shows the sensors of health that are near.
func list(ctx context.Context, r radio.Radio) error {
	ctx, cancel := context.WithTimeout(ctx, scanTime)
	defer cancel()
	seen := map[radio.Sensor]bool{}
	return r.Scan(ctx, func(s radio.Sensor) {
		s.Signal /= 10 // a change of the signal alone is no news
		if !s.Health || seen[s] {
			return
		}
		seen[s] = true
		bond := ""
		if s.Paired {
			bond = ", paired"
		}
		fmt.Printf("%s  %.40q%s\n", s.Address, s.Name, bond)
	})
}

// shownNumber asks the person for the number that the sensor shows.
func shownNumber(context.Context) (uint32, error) {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return 0, errors.New("the sensor shows a number, and nobody can type it here")
	}
	fmt.Fprint(os.Stderr, "the number that the sensor shows: ")
	var n uint32
	_, err := fmt.Scanln(&n)
	return n, err
}
