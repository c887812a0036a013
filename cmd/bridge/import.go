package bridge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	role "github.com/vitalveil/vitalveil/bridge"
	"github.com/vitalveil/vitalveil/bridge/importer"
)

type importCommand struct {
	dirFlag
	File   string        `arg:"" help:"An export as it comes: Apple Health (export.zip or export.xml), Health Connect (zip or database), Google Takeout with Fitbit in it (zip, or one file of it), Garmin FIT (or a zip of such)." type:"existingfile"`
	Device string        `help:"The device, by the beginning of its identifier; needed where the hub has more than one."`
	Wait   time.Duration `help:"For how long to try again while the hub is away." default:"1m"`
}

// Help says what comes of it.
func (importCommand) Help() string {
	return `Readings go to their own minutes. Those of hours that are sealed become corrections where
the minute is missing; those that are too old for that are left out and counted. What the
export says of watch and phone is kept: which one counts where both measured is what
"vitalveil bridge sensors" shows and changes. Importing the same again, or an export that
overlaps, counts nothing twice; whatever is killed on the way, repeat the command.`
}

// importer counts what becomes of an export.
type importing struct {
	*pusher
	device  string
	window  window
	metrics map[string]bool
	list    []reading
	read    int
	left    map[string]int
	result  role.Outcome
}

// Run imports the file.
func (c importCommand) Run(ctx context.Context) error {
	e, err := importer.Open(c.File)
	if err != nil {
		return err
	}
	defer e.Close()
	i := &importing{
		pusher: &pusher{command: pushCommand{Wait: c.Wait}, control: c.control()},
		device: c.Device, left: map[string]int{}, metrics: map[string]bool{},
	}
	err = i.patiently(ctx, func() error {
		return i.control.Call(ctx, "window", windowRequest{c.Device}, &i.window)
	})
	if err != nil {
		return err
	}
	for _, m := range i.window.Metrics {
		i.metrics[m] = true
	}
	bar := importBar(e)
	err = e.Read(ctx, func(r importer.Reading) error {
		if done, _ := e.Progress(); i.read%1000 == 0 {
			_ = bar.Set64(done)
		}
		return i.take(ctx, r)
	})
	err = errors.Join(err, i.flush(ctx))
	_ = bar.Finish()
	for why, n := range e.Drops() {
		i.left[string(why)] += int(n)
	}
	return errors.Join(err, i.print(e.Formats()))
}

func importBar(e *importer.Export) *progressbar.ProgressBar {
	_, size := e.Progress()
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return progressbar.DefaultBytesSilent(size)
	}
	return progressbar.DefaultBytes(size, "import")
}

// take keeps what the hub takes at all.
func (i *importing) take(ctx context.Context, r importer.Reading) error {
	i.read++
	minute := r.Time.FloorDiv(60)
	switch {
	case !i.metrics[r.Metric]:
		i.left["of what the device is not enrolled for"]++
	case minute < i.window.From:
		i.left["too old"]++
	case minute > i.window.Until:
		i.left["of a time that is still to come"]++
	default:
		i.list = append(i.list, reading{Metric: r.Metric, Time: r.Time, Value: r.Value, Source: r.Device})
	}
	if len(i.list) == batch {
		return i.flush(ctx)
	}
	return nil
}

// flush sends what is gathered. Sending it twice counts it once.
func (i *importing) flush(ctx context.Context) error {
	if len(i.list) == 0 {
		return nil
	}
	var out role.Outcome
	err := i.patiently(ctx, func() error {
		return i.control.Call(ctx, "push", pushRequest{Device: i.device, Readings: i.list}, &out)
	})
	i.list = i.list[:0]
	i.result = i.result.Plus(out)
	return err
}

func (i *importing) print(formats []string) error {
	kinds := strings.Join(formats, " and ")
	if kinds == "" {
		return nil
	}
	fmt.Printf("%s: %d readings, %d counted\n", kinds, i.read, i.result.Gridded)
	for why, n := range leftOut(i.result) {
		i.left[why] += n
	}
	for _, why := range slices.Sorted(maps.Keys(i.left)) {
		if i.left[why] > 0 {
			fmt.Printf("  left out: %d %s\n", i.left[why], why)
		}
	}
	return nil
}

// leftOut says why readings were left out.
func leftOut(o role.Outcome) map[string]int {
	return map[string]int{
		"out of range": o.OutOfRange, "of minutes that count already": o.Counted, "too late": o.Late,
		"that the hub had already": o.Repeated, "of minutes in which a preferred source measured": o.Outranked,
		"of minutes with too many": o.Crowded,
	}
}

// leftOutOf is why readings of a device were left out since it was made, and parts of its
// sensors' notifications.
func leftOutOf(c role.Counts, parts map[string]uint64) map[string]uint64 {
	all := map[string]uint64{
		"of a time that is still to come": c.Early, "of what the device is not enrolled for": c.NotEnrolled,
		"of notifications that do not decode": c.Undecodable, "of another user of the sensor": c.OtherUser,
		"from a sensor's memory without their time": c.NoTime,
	}
	for why, n := range leftOut(c.Outcome()) {
		all[why] += uint64(n)
	}
	for why, n := range parts {
		all["parts of notifications ("+why+")"] += n
	}
	return all
}

// leftOutLine is leftOut for people: "1 out of range, 2 too late", or "none".
func leftOutLine(o role.Outcome) string { return lineOf(leftOut(o)) }

func lineOf[N int | uint64](reasons map[string]N) string {
	var parts []string
	for _, why := range slices.Sorted(maps.Keys(reasons)) {
		if reasons[why] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", reasons[why], why))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}
