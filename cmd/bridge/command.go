package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	role "github.com/vitalveil/vitalveil/bridge"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/site"
)

// Command is "vitalveil bridge".
type Command struct {
	Init    initCommand    `cmd:"" help:"Make a hub's directory with its configuration."`
	Enrol   enrolCommand   `cmd:"" help:"Make a device for a patient and write what the patient is asked to sign, or send what was signed."`
	Run     runCommand     `cmd:"" help:"Run the hub: take readings, seal every hour, send what is sealed, answer claims that consents allow."`
	Push    pushCommand    `cmd:"" help:"Send readings from a file to the running hub. Repeat it as often as you like: each line counts once."`
	Import  importCommand  `cmd:"" help:"Take readings from an export of Apple Health, Health Connect, Fitbit or Garmin into the running hub."`
	Pair    pairCommand    `cmd:"" help:"Pair with a sensor that is near, and have the hub keep it connected; without an address, list those there are."`
	Sensors sensorsCommand `cmd:"" help:"Show sensors and sources, put sources in order, set the patient's number in a shared sensor."`
	Export  exportCommand  `cmd:"" help:"Write the patient's own readings as CSV or as FHIR Observations."`
	Status  statusCommand  `cmd:"" help:"Show the devices, how far they are, and what is wrong."`
	Answer  answerCommand  `cmd:"" help:"Show what the patients' devices are asked to prove, and answer what consents allow."`
	Consent consentCommand `cmd:"" help:"Leave a signed consent with the devices of its patient: claims are answered within it."`
	Keys    keysCommand    `cmd:"" help:"Follow a change of a patient's keys: consents count that the new ones sign."`
	Receipt receiptCommand `cmd:"" help:"Write the receipt of a sealed hour or of a committed day: enough members signed that they hold it."`
}

// Help explains the order of things.
func (Command) Help() string {
	return `"init" makes a directory, "enrol" a device for a patient. The patient signs its request
("vitalveil patient device FILE") and "enrol --signed FILE" sends it. "run" goes on for
ever; "push" gives it readings. Nobody can take a device over from a copy of its
directory: a hub that was restored retires its devices.`
}

type dirFlag struct {
	Dir string `help:"The hub's directory: configuration and state." type:"path" required:"" placeholder:"DIR"`
}

func (f dirFlag) control() site.Control { return site.Control{Role: "bridge", Dir: f.Dir} }

// ask has the hub that runs in the directory do something, or, where none runs, opens the
// hub for that. One that is just starting has the store and does not answer yet.
func ask[Req, Resp any](ctx context.Context, f dirFlag, what string, request *Req, do func(*hub, context.Context, *Req) (Resp, error)) (Resp, error) {
	var resp Resp
	cfg, err := load(f.Dir)
	if err != nil {
		return resp, err
	}
	for deadline := time.Now().Add(startTime); ; time.Sleep(roundPause) {
		if f.control().Running() {
			err := f.control().Call(ctx, what, request, &resp)
			return resp, err
		}
		h, err := openHub(cfg)
		if err == nil {
			resp, err = do(h, ctx, request)
			return resp, errors.Join(err, h.close())
		}
		if ctx.Err() != nil || time.Now().After(deadline) || !errors.Is(err, syscall.EAGAIN) {
			return resp, err
		}
	}
}

// startTime is how long a hub may take from opening its store to answering.
const startTime = 5 * time.Second

type initCommand struct {
	dirFlag
	Network     string `help:"The network's document, received out of band." type:"existingfile" required:""`
	Gateway     string `help:"The gateway's URL." required:""`
	CircuitKeys string `help:"Directory with the network's proving keys, for claims." type:"path"`
	Listen      string `help:"A further socket for sources, which can push and nothing else." type:"path"`
	Every       int    `help:"Seconds between two rounds of sealing and sending." default:"60"`
	Metrics     string `help:"Where to serve metrics: host:port on loopback."`
}

// Run makes the directory.
func (c initCommand) Run() error {
	path := filepath.Join(c.Dir, configFile)
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%s is there already; change it by hand", path)
	}
	network, err := filepath.Abs(c.Network)
	if err != nil {
		return err
	}
	cfg := Config{
		Service: site.Service{Metrics: c.Metrics}, Network: site.Path(network), Gateway: c.Gateway,
		CircuitKeys: site.Path(c.CircuitKeys), Listen: site.Path(c.Listen), Every: c.Every,
	}
	if err := errors.Join(cfg.Check(), c.control().Check()); err != nil {
		return err
	}
	d, err := site.Descriptor(network)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	if err := site.Save(path, cfg); err != nil {
		return err
	}
	_, err = fmt.Printf("%s of a hub in network %q; keep the directory out of backups\n", path, d.Genesis.Network)
	return err
}

type runCommand struct {
	dirFlag
	CheckConfig bool `help:"Read and check the configuration, say what would run, and end."`
	Verbose     bool `help:"Log more."`
}

// Run runs the hub until it is interrupted.
func (c runCommand) Run(ctx context.Context) error {
	cfg, err := load(c.Dir)
	if err != nil {
		return err
	}
	if c.CheckConfig {
		return explain(cfg)
	}
	h, err := openHub(cfg)
	if err != nil {
		return err
	}
	return errors.Join(h.run(ctx, c.dirFlag, cfg.Logger(c.Verbose)), h.close())
}

// explain says what a configuration means, and opens nothing.
func explain(cfg Config) error {
	c, err := cfg.hub()
	if err != nil {
		return err
	}
	if err := c.Check(); err != nil {
		return err
	}
	_, err = fmt.Printf("a hub in network %q, of members' epoch %d, sends to %s every %d seconds; its store is %s\n",
		c.Genesis.Network, len(c.Epochs), strings.Join(append([]string{cfg.Gateway}, cfg.OtherGateways...), " or "), cfg.Every, cfg.State)
	return err
}

type enrolCommand struct {
	dirFlag
	Patient string   `help:"The patient's identifier, as \"vitalveil patient show\" prints it."`
	Metrics []string `help:"What the device measures, as in \"vitalveil metrics\"."`
	From    string   `help:"The first hour that is sealed: a Unix hour, or a time such as 2026-01-31T08:00:00Z. Default: the next one."`
	Stratum string   `help:"The patient's stratum, where the network's rows have such; nobody sees it."`
	Device  string   `help:"Write the request of a device that is there, by the beginning of its identifier."`
	Out     string   `help:"Where to write the request." type:"path" default:"device.json"`
	Signed  string   `help:"Send this request, which the patient has signed." type:"existingfile"`
}

// Run makes a device, or sends its enrolment.
func (c enrolCommand) Run(ctx context.Context) error {
	if c.Signed != "" {
		return c.send(ctx)
	}
	request := enrolRequest{Device: c.Device, Metrics: c.Metrics, Stratum: c.Stratum}
	if c.Device == "" {
		var err error
		if request.Patient, err = record.ParseID(c.Patient); err != nil || len(c.Metrics) == 0 {
			return errors.New("name --patient and --metrics of a new device, or --device to write an old one's request again")
		}
		if request.FirstHour, err = hourOf(c.From, time.Now()); err != nil {
			return err
		}
	}
	signed, err := ask(ctx, c.dirFlag, "enrol", &request, (*hub).enrol)
	if err != nil {
		return err
	}
	if err := site.Save(c.Out, signed); err != nil {
		return err
	}
	d := signed.Enrolment.Device
	_, err = fmt.Printf("device %s of patient %s seals from %s on: the patient signs %s (\"vitalveil patient device\"), and \"vitalveil bridge enrol --signed\" has to send it before then\n",
		record.DeviceID(signed.Network, d.Key), d.Patient.Short(), clock(d.FirstHour*3600), c.Out)
	return err
}

// hourOf reads an hour; with none it is the one after now.
func hourOf(text string, now time.Time) (int64, error) {
	if text == "" {
		return now.Unix()/3600 + 1, nil
	}
	if hour, err := strconv.ParseInt(text, 10, 64); err == nil {
		return hour, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0, fmt.Errorf("%q is neither a Unix hour nor a time such as 2026-01-31T08:00:00Z", text)
	}
	return t.Unix() / 3600, nil
}

func clock(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }

func (c enrolCommand) send(ctx context.Context) error {
	var r record.DeviceRequest
	if err := site.Load(c.Signed, &r); err != nil {
		return err
	}
	if _, err := ask(ctx, c.dirFlag, "send", &r, (*hub).send); err != nil {
		return err
	}
	_, err := fmt.Printf("device %s is enrolled\n", record.DeviceID(r.Network, r.Enrolment.Device.Key))
	return err
}

type statusCommand struct {
	dirFlag
	JSON bool          `help:"Print JSON."`
	Sync bool          `help:"Have the hub do a round first, and wait for it."`
	Wait time.Duration `help:"With --sync: repeat rounds for so long until nothing is waiting."`
}

// Run shows the status.
func (c statusCommand) Run(ctx context.Context) error {
	if c.Sync {
		if err := c.sync(ctx); err != nil {
			return err
		}
	}
	running := c.control().Running()
	s, err := ask(ctx, c.dirFlag, "status", &none{}, (*hub).status)
	if err != nil {
		return err
	}
	s.Running = running
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(s)
	}
	return s.print()
}

const roundPause = 200 * time.Millisecond

// sync has rounds done until nothing is waiting or the wait is over.
func (c statusCommand) sync(ctx context.Context) error {
	for deadline := time.Now().Add(c.Wait); ; {
		r, err := ask(ctx, c.dirFlag, "sync", &none{}, (*hub).sync)
		if err == nil && r.Waiting+r.Awaited == 0 || ctx.Err() != nil || time.Now().After(deadline) {
			if err == nil && c.Wait > 0 && r.Waiting+r.Awaited > 0 {
				err = fault.New(fault.Unavailable, "after %s %d rows and days wait for the ledger and %d for their receipts", c.Wait, r.Waiting, r.Awaited)
			}
			return err
		}
		time.Sleep(roundPause)
	}
}

func (s hubStatus) print() error {
	state := "is not running"
	if s.Running {
		state = "is running"
	}
	fmt.Printf("a hub in network %s %s; gateway %s, last contact %s\n", s.Network, state, s.Gateway, contact(s.Contact))
	if s.Ahead != 0 {
		fmt.Printf("the clock is %d seconds ahead of the network's: hours stay open until that has come\n", s.Ahead)
	}
	if s.Problem != "" {
		fmt.Printf("problem: %s\n", site.Plain(s.Problem))
	}
	for _, x := range s.Sensors {
		x.print()
	}
	for _, d := range s.Devices {
		fmt.Printf("device %s of patient %s for %s\n", d.ID, d.Patient, strings.Join(d.Metrics, ", "))
		if d.Enrolled && s.Contact != 0 && !d.Ready {
			fmt.Println("  not ready: a member has not acknowledged its seeds, so it counts nowhere yet")
		}
		if !d.Enrolled {
			fmt.Println("  not enrolled: its patient has to sign its request (\"enrol --device\" writes it again)")
		}
		fmt.Printf("  sealed until %s, %d rows and days wait for the ledger\n", clock(d.SealedUntil), d.Waiting)
		fmt.Printf("  committed until %s; %d minutes came after their day was: they count in hours and are dropped from the day\n", clock(d.CommittedUntil), d.Counts.AfterDay)
		fmt.Printf("  %d readings counted; left out: %s\n", d.Counts.Gridded, lineOf(leftOutOf(d.Counts, d.Dropped)))
		d.printMetrics()
		for _, r := range d.Refused {
			fmt.Printf("  refused, and offered again: %s\n", site.Plain(r))
		}
		if d.Retired != "" {
			fmt.Printf("  retired, enrol a new device: %s\n", site.Plain(d.Retired))
		}
	}
	_, err := fmt.Printf("%d devices\n", len(s.Devices))
	return err
}

func contact(unix int64) string {
	if unix == 0 {
		return "never since the start"
	}
	return clock(unix)
}

type answerCommand struct {
	dirFlag
	List     bool   `help:"Only show what is asked, and answer nothing."`
	Allow    string `help:"Say yes to a question, where the hub asks first." placeholder:"QUESTION" xor:"word"`
	Refuse   string `help:"Say no to a question that is not answered yet: nobody can tell that from a claim that does not hold." placeholder:"QUESTION" xor:"word"`
	Language string `help:"The language that claims are said in: en or de." default:"en"`
	JSON     bool   `help:"Print JSON."`
}

// Run shows claims, and has them answered.
func (c answerCommand) Run(ctx context.Context) error {
	if question := c.Allow + c.Refuse; question != "" {
		if _, err := ask(ctx, c.dirFlag, "word", &wordRequest{question, c.Allow != ""}, (*hub).word); err != nil {
			return err
		}
	}
	var answers role.Answers
	if !c.List {
		var err error
		if answers, err = ask(ctx, c.dirFlag, "answer", &none{}, (*hub).answers); err != nil {
			return err
		}
	}
	list, err := ask(ctx, c.dirFlag, "claims", &claimsRequest{c.Language}, (*hub).claims)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(list)
	}
	for _, a := range list {
		fmt.Print(a)
	}
	_, err = fmt.Printf("%d open requests, %d proofs handed in\n", len(list), len(answers.Proven))
	return err
}

type consentCommand struct {
	dirFlag
	File string `arg:"" help:"The signed consent, as \"vitalveil patient consent --out FILE\" writes it." type:"existingfile"`
}

// Run leaves the consent with devices.
func (c consentCommand) Run(ctx context.Context) error {
	var s consent.Signed
	if err := site.Load(c.File, &s); err != nil {
		return err
	}
	n, err := ask(ctx, c.dirFlag, "consent", &s, (*hub).permit)
	if err != nil {
		return err
	}
	_, err = fmt.Printf("left with %d devices of patient %s\n", n, s.Document.Patient.Short())
	return err
}

type keysCommand struct {
	dirFlag
	File string `arg:"" help:"The signed change, as \"vitalveil patient keys\" leaves it in the patient's directory." type:"existingfile"`
}

// Run has devices follow the change.
func (c keysCommand) Run(ctx context.Context) error {
	var s consent.SignedKeys
	if err := site.Load(c.File, &s); err != nil {
		return err
	}
	n, err := ask(ctx, c.dirFlag, "keys", &s, (*hub).keys)
	if err != nil {
		return err
	}
	_, err = fmt.Printf("%d devices of patient %s know change %d of the keys\n", n, s.Change.Patient.Short(), s.Change.Version)
	return err
}

type receiptCommand struct {
	dirFlag
	Index      int64  `arg:"" help:"The Unix hour, or with --day or --day-row the Unix day."`
	Day        bool   `help:"Of a day's root." xor:"kind"`
	DayRow     bool   `help:"Of a day's row." xor:"kind"`
	Correction uint8  `help:"Of a correction of the hour, by its number."`
	Device     string `help:"The device, by the beginning of its identifier; needed where the hub has more than one."`
	Out        string `help:"Where to write the receipt." type:"path" default:"receipt.json"`
}

// Run writes a receipt.
func (c receiptCommand) Run(ctx context.Context) error {
	request := receiptRequest{Device: c.Device, Kind: record.KindRow, Index: c.Index, Correction: c.Correction}
	switch {
	case c.Day:
		request.Kind = record.KindDay
	case c.DayRow:
		request.Kind = record.KindPersonDay
	}
	r, err := ask(ctx, c.dirFlag, "receipt", &request, (*hub).receipt)
	if err != nil {
		return err
	}
	if err := site.Save(c.Out, r); err != nil {
		return err
	}
	_, err = fmt.Printf("%s: %d members hold it\n", c.Out, len(r.Posts))
	return err
}
