package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

func main() {
	devices := flag.Int("devices", 1000, "devices to seal at most")
	hours := flag.Int("hours", 24, "hours of a query, at most 720")
	sealing := flag.Duration("seal", 3*time.Second, "CPU time a scheme may spend on sealing; fewer device-hours are sealed then")
	asking := flag.Duration("ask", 10*time.Second, "CPU time that a query may take; longer ones are extrapolated and marked")
	only := flag.String("only", "", "measure only the schemes whose name contains this")
	out := flag.String("out", "", "write the table to this file as well")
	flag.Parse()
	if err := run(*devices, *hours, limits{*sealing, *asking}, *only, *out); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(devices, hours int, limit limits, only, out string) error {
	if devices < 1 || devices > 100_000 || hours < 1 || hours > 720 {
		return fmt.Errorf("devices are from 1 to 100,000 and hours from 1 to 720")
	}
	runtime.GOMAXPROCS(1)
	var readings []reading
	for _, c := range contenders() {
		if !matches(c.name, only) {
			continue
		}
		start := time.Now()
		fmt.Fprintf(os.Stderr, "%-40s", c.name)
		r, err := measure(c, devices, hours, limit)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Fprintf(os.Stderr, " %d device-hours sealed, answers exact, %.1f s\n", r.pool.Pool*r.pool.PoolHours, time.Since(start).Seconds())
		readings = append(readings, r)
		debug.FreeOSMemory()
	}
	table := report(readings, hours)
	fmt.Print(table)
	if out != "" {
		return os.WriteFile(out, []byte(table), 0o644)
	}
	return nil
}
