package demo

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/bridge"
	"github.com/vitalveil/vitalveil/bridge/radio"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/wearable/recording"
	"github.com/vitalveil/vitalveil/wearable/virtual"
)

const (
	// players is how many people's sensors measure at the same time.
	players = 4
	// chunkHours is how much time passes between uploads. Day roots must be
	// anchored within seven days of the day.
	chunkHours = 5 * 24
	// heldSeconds is how long after its end a bridge commits a day.
	heldSeconds = 2 * 3600
)

// kit is the sensors that one subject wears, each linked to the bridge, and what
// is on its way to the push source because no sensor carries it.
type kit struct {
	bySlot [wearable.Slots]*virtual.Sensor
	close  []func() error
	next   int // first sample that is not measured yet
	push   []bridge.Reading
	late   []bridge.Reading // stored by a sensor until their hours are sealed
	stores bool
	sealed bool // to the end of the recording

	emitted, pushed int
}

// wear gives a subject the sensors for its metrics and connects them.
func (w *world) wear(ctx context.Context, p *person) error {
	k := &kit{stores: w.stored}
	p.kit = k
	has := p.Metrics()
	for _, s := range []*virtual.Sensor{
		virtual.NewHeartRateStrap("strap"), virtual.NewPulseOximeter("oximeter"),
		virtual.NewThermometer("thermometer"), virtual.NewBloodPressureCuff("cuff"),
	} {
		if !slices.ContainsFunc(s.Metrics(), func(m string) bool { return slices.Contains(has, m) }) {
			continue
		}
		central, peripheral := virtual.NewLink()
		served := make(chan error, 1)
		go func() { served <- s.Serve(peripheral) }()
		k.close = append(k.close, func() error {
			if err := central.Close(); err != nil {
				return err
			}
			return <-served
		})
		link, err := radio.OverATT(ctx, central)
		if err != nil {
			return fmt.Errorf("connecting the %s of %s: %w", s.Name(), p.ID, err)
		}
		session, err := p.device.Connect(ctx, link, s.Name())
		if err != nil {
			return fmt.Errorf("connecting the %s of %s: %w", s.Name(), p.ID, err)
		}
		k.close = append(k.close, session.Close)
		for _, key := range s.Metrics() {
			if m, _ := wearable.ByKey(key); p.carriedBy(s, m) {
				k.bySlot[m.Slot] = s
			}
		}
	}
	return nil
}

// unwear takes the sensors off, bridge side first.
func (p *person) unwear() error {
	if p.kit == nil {
		return nil
	}
	for _, c := range slices.Backward(p.kit.close) {
		if err := c(); err != nil {
			return err
		}
	}
	return nil
}

// play lets every person live through the source, in simulated time: sensors
// measure, bridges seal, and every chunk goes to the ledger.
func (w *world) play(ctx context.Context, people []*person) error {
	total := 0
	for _, p := range people {
		total += len(p.Samples)
	}
	s := w.progress.step("readings measured, gridded, sealed and anchored", total)
	for from := w.firstHour; from < w.untilHour; {
		until := min(wearable.FloorDiv(from, 24)*24+chunkHours, w.untilHour) // days end with a chunk
		if err := w.measure(ctx, people, until, s); err != nil {
			return err
		}
		if err := w.tick(ctx, until*3600); err != nil {
			return err
		}
		if err := w.seal(ctx, people, until); err != nil {
			return err
		}
		if err := w.each(ctx, people, (*person).deliver); err != nil {
			return err
		}
		if _, err := w.hub.Sync(ctx); err != nil {
			return err
		}
		from = until
	}
	s.end()
	return w.endLastDay(ctx, people)
}

// endLastDay lets time pass until bridges have committed the last day.
func (w *world) endLastDay(ctx context.Context, people []*person) error {
	end := w.untilHour*3600 + heldSeconds
	if err := w.tick(ctx, end); err != nil {
		return err
	}
	err := w.each(ctx, people, func(p *person, ctx context.Context) error {
		if p.device == nil {
			return nil
		}
		_, last := p.Hours()
		return p.device.Finish(ctx, last+1, end)
	})
	if err != nil {
		return err
	}
	_, err = w.hub.Sync(ctx)
	return err
}

// measure replays what is left of the samples before the hour until, minute by
// minute: all sensors share one clock, and a minute is as fine as the grid is.
func (w *world) measure(ctx context.Context, people []*person, until int64, s *step) error {
	for {
		minute, any := int64(0), false
		for _, p := range people {
			if m, ok := p.nextMinute(until); ok && (!any || m < minute) {
				minute, any = m, true
			}
		}
		if !any {
			break
		}
		w.now.Store(minute*60 + 59)
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(players)
		for _, p := range people {
			if m, ok := p.nextMinute(until); ok && m == minute {
				g.Go(func() error {
					n, err := p.live(gctx, minute)
					s.add(n)
					return err
				})
			}
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return w.each(ctx, people, (*person).flush)
}

// carriedBy reports whether a sensor carries every value of a metric that the person has.
// Else all of them are pushed: a minute is one source's, so those of a metric go one way.
func (p *person) carriedBy(s *virtual.Sensor, m wearable.Metric) bool {
	return !slices.ContainsFunc(p.Samples, func(x recording.Sample) bool {
		return x.Slot == m.Slot && !s.CanCarry(m.Key, x.Value)
	})
}

// nextMinute returns the minute of the next sample before the hour until.
func (p *person) nextMinute(until int64) (int64, bool) {
	if p.kit == nil || p.kit.next == len(p.Samples) {
		return 0, false
	}
	t := p.Samples[p.kit.next].Unix
	return wearable.MinuteOf(t), t < until*3600
}

// live measures the samples of one minute. Samples of one second that one
// sensor measures travel together, as an oximeter sends saturation and pulse.
func (p *person) live(ctx context.Context, minute int64) (int, error) {
	k := p.kit
	begin := k.next
	for k.next < len(p.Samples) && wearable.MinuteOf(p.Samples[k.next].Unix) == minute {
		second := k.next
		for k.next < len(p.Samples) && p.Samples[k.next].Unix == p.Samples[second].Unix {
			k.next++
		}
		if k.stores && minute%3 == 0 {
			k.store(p.Samples[second:k.next])
			continue
		}
		if err := k.send(ctx, p.Samples[second:k.next]); err != nil {
			return 0, fmt.Errorf("measuring %s: %w", p.ID, err)
		}
		if len(k.push) > bridge.MaxPush/2 {
			if err := p.flush(ctx); err != nil {
				return 0, err
			}
		}
	}
	return k.next - begin, nil
}

// send brings the samples of one second on their way: over GATT where a sensor carries the
// metric, to the push source otherwise.
func (k *kit) send(ctx context.Context, samples []recording.Sample) error {
	var taken [64]bool // a second has few samples; more go one by one
	for i, s := range samples {
		if i < len(taken) && taken[i] {
			continue
		}
		m, _ := wearable.BySlot(s.Slot)
		sensor := k.bySlot[s.Slot]
		if sensor == nil {
			k.push = append(k.push, bridge.Reading{Metric: m.Key, Time: wearable.Int(s.Unix), Value: s.Value})
			k.pushed++
			continue
		}
		together := []wearable.Reading{{Metric: m.Key, Value: s.Value}}
		for j := i + 1; j < min(len(samples), len(taken)); j++ {
			o := samples[j]
			om, _ := wearable.BySlot(o.Slot)
			if !taken[j] && k.bySlot[o.Slot] == sensor && !carries(together, om.Key) {
				together, taken[j] = append(together, wearable.Reading{Metric: om.Key, Value: o.Value}), true
			}
		}
		if err := sensor.Emit(ctx, together...); err != nil {
			return err
		}
		k.emitted += len(together)
	}
	return nil
}

func carries(rs []wearable.Reading, key string) bool {
	return slices.ContainsFunc(rs, func(r wearable.Reading) bool { return r.Metric == key })
}

// flush hands what the push source has gathered to the bridge.
func (p *person) flush(ctx context.Context) error {
	if p.kit == nil || len(p.kit.push) == 0 {
		return nil
	}
	if _, err := p.device.Push(ctx, p.kit.push); err != nil {
		return fmt.Errorf("pushing readings of %s: %w", p.ID, err)
	}
	p.kit.push = p.kit.push[:0]
	return nil
}

// store keeps samples in the sensor.
func (k *kit) store(samples []recording.Sample) {
	for _, s := range samples {
		m, _ := wearable.BySlot(s.Slot)
		k.late = append(k.late, bridge.Reading{Metric: m.Key, Time: wearable.Int(s.Unix), Value: s.Value})
		k.pushed++
	}
}

// deliver hands over what sensors have stored: their hours are sealed, so it
// becomes corrections.
func (p *person) deliver(ctx context.Context) error {
	if p.kit == nil || len(p.kit.late) == 0 {
		return nil
	}
	for part := range slices.Chunk(p.kit.late, bridge.MaxPush) {
		if _, err := p.device.Push(ctx, part); err != nil {
			return fmt.Errorf("delivering stored readings of %s: %w", p.ID, err)
		}
	}
	p.kit.late = p.kit.late[:0]
	return p.device.SealLate(ctx)
}

// seal lets every bridge seal the hours that are over, but none after its
// subject's last: there the recording ends.
func (w *world) seal(ctx context.Context, people []*person, until int64) error {
	return w.each(ctx, people, func(p *person, ctx context.Context) error {
		if p.device == nil || p.kit.sealed {
			return nil
		}
		if _, last := p.Hours(); last < until {
			p.kit.sealed = true
			return p.device.Finish(ctx, last+1, until*3600)
		}
		return p.device.Advance(ctx, until*3600)
	})
}

// each runs f for every person, several at a time.
func (w *world) each(ctx context.Context, people []*person, f func(*person, context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(players)
	for _, p := range people {
		g.Go(func() error { return f(p, ctx) })
	}
	return g.Wait()
}

// extras makes up the two people whom the demo adds to every source, and who are in no
// number: one who refuses and one who revokes. They wear sensors for the source's first day.
func extras(src *recording.Source) (*recording.Person, *recording.Person) {
	first, last := src.Span()
	hours := int(min(last+1-first, 24))
	return recording.MakeUp("added-refuses", 9001, first*3600, hours), recording.MakeUp("added-revokes", 9002, first*3600, hours)
}

// extra tells the two from the people of the source.
func (w *world) extra(p *person) bool { return p.Person == w.refuser || p.Person == w.revoker }
