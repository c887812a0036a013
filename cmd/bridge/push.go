package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	role "github.com/vitalveil/vitalveil/bridge"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network/site"
)

type pushCommand struct {
	dirFlag
	File   string        `arg:"" help:"CSV with a header (time, metric, value, perhaps unit), or one JSON object on each line with these fields; - is standard input. Times are Unix seconds or like 2026-01-31T08:00:00Z."`
	Device string        `help:"The device, by the beginning of its identifier; needed where the hub has more than one."`
	Source string        `help:"Under which name the hub remembers what it took. Default: the file's path. A file that has grown goes on where it was."`
	Wait   time.Duration `help:"For how long to try again while the hub is away." default:"1m"`
}

// Help says what can go wrong.
func (pushCommand) Help() string {
	return `The hub writes down with each reading how far it is in the source. Whatever is killed,
repeat the command: it goes on behind the last reading that the hub has, and no reading
counts twice. A file that was changed before that point is refused.`
}

// batch is how many readings are sent, and written to disk, at once.
const batch = 400

// Run sends the readings.
func (c pushCommand) Run(ctx context.Context) error {
	in, err := c.open()
	if err != nil {
		return err
	}
	defer in.Close()
	p := &pusher{command: c, control: c.control()}
	p.bar = progress(in)
	if p.at, err = p.position(ctx); err != nil {
		return err
	}
	if err := p.send(ctx, io.TeeReader(in, p.bar)); err != nil {
		return fmt.Errorf("%w\n%d readings are taken; push again to go on", err, p.at.Taken)
	}
	_ = p.bar.Finish()
	o := p.out
	_, err = fmt.Printf("%d readings: %d sent, %d taken before\n%d counted; left out: %s\n",
		p.read.Taken, p.sent, p.read.Taken-p.sent, o.Gridded, leftOutLine(o))
	return err
}

// open opens the source and gives it a name.
func (c *pushCommand) open() (*os.File, error) {
	if c.File == "-" {
		if c.Source == "" {
			return nil, errors.New("standard input has no name: give it one with --source, by which it is known when it goes on")
		}
		return os.Stdin, nil
	}
	if c.Source == "" {
		path, err := filepath.Abs(c.File)
		if err != nil {
			return nil, err
		}
		c.Source = path
	}
	return os.Open(c.File)
}

// progress is a bar on a terminal, and nothing elsewhere.
func progress(in *os.File) *progressbar.ProgressBar {
	size := int64(-1)
	if info, err := in.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return progressbar.DefaultBytesSilent(size)
	}
	return progressbar.DefaultBytes(size, "readings")
}

// pusher sends a source from where the hub is in it.
type pusher struct {
	command pushCommand
	control site.Control
	bar     *progressbar.ProgressBar

	at   role.Position // where the hub is
	read role.Position // where the file is
	sent uint64
	out  role.Outcome
}

func (p *pusher) position(ctx context.Context) (role.Position, error) {
	var at role.Position
	err := p.patiently(ctx, func() error {
		return p.control.Call(ctx, "position", positionRequest{p.command.Device, p.command.Source}, &at)
	})
	return at, err
}

// patiently tries again while the hub is away.
func (p *pusher) patiently(ctx context.Context, call func() error) error {
	for deadline := time.Now().Add(p.command.Wait); ; {
		err := call()
		if err == nil || fault.Of(err) != fault.Unavailable || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(roundPause):
		}
	}
}

// send passes over what the hub has and sends the rest, batch by batch.
func (p *pusher) send(ctx context.Context, in io.Reader) error {
	start := p.at
	var list []reading
	for r, err := range readings(in) {
		if err != nil {
			return errors.Join(p.flush(ctx, list), err)
		}
		p.read = p.read.After(r)
		switch {
		case p.read.Taken < start.Taken:
			continue
		case p.read.Taken == start.Taken:
			if p.read != start {
				return changed(p.command.Source, start.Taken)
			}
			continue
		}
		if list = append(list, reading(r)); len(list) == batch {
			if err := p.flush(ctx, list); err != nil {
				return err
			}
			list = list[:0]
		}
	}
	if p.read.Taken < start.Taken {
		return changed(p.command.Source, start.Taken)
	}
	return p.flush(ctx, list)
}

func changed(source string, taken uint64) error {
	return fault.New(fault.Conflict, "the hub has taken %d readings of %s, and they are not those that it begins with now: name another --source, if it is another", taken, source)
}

// flush sends readings that follow where the hub is. That an answer was lost shows by the
// hub's being behind them already.
func (p *pusher) flush(ctx context.Context, list []reading) error {
	if len(list) == 0 {
		return nil
	}
	from, next := p.at, p.at
	for _, r := range list {
		next = next.After(role.Reading(r))
	}
	var out role.Outcome
	err := p.patiently(ctx, func() error {
		request := pushRequest{Device: p.command.Device, Source: p.command.Source, From: from, Readings: list}
		err := p.control.Call(ctx, "push", request, &out)
		if fault.Of(err) != fault.Conflict {
			return err
		}
		var at role.Position
		if perr := p.control.Call(ctx, "position", positionRequest{p.command.Device, p.command.Source}, &at); perr != nil {
			return perr
		}
		if at == next {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	p.at, p.sent = next, p.sent+uint64(len(list))
	p.out = p.out.Plus(out)
	return nil
}
