package wearable

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the page about devices anew")

const devicesPage = "../docs/devices.md"

// TestTheDevicesPageIsInStep holds docs/devices.md to the table of characteristics
// and to the vectors; `go test -run DevicesPage ./wearable -update` writes it.
func TestTheDevicesPageIsInStep(t *testing.T) {
	want := devices(t)
	if *update {
		if err := os.WriteFile(devicesPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(devicesPage)
	if err != nil || string(got) != want {
		t.Errorf("%s is not what the code says (%v): go test -run DevicesPage ./wearable -update", devicesPage, err)
	}
}

func devices(t *testing.T) string {
	var b strings.Builder
	b.WriteString(`# Devices

What of Bluetooth sensors is read, made from the code by the test that checks it. A
sensor that offers one of these characteristics is understood, whoever made it; another
vendor's own takes [one file](../wearable/halden.go) and its vectors. Units and ranges of
the metrics: ` + "`vitalveil metrics`" + `.

Stored records are what a sensor measured while nobody listened. "Person" is whether a
value has the number of the person in the sensor. Vectors are payloads with what they
decode to, in [testdata](../wearable/testdata); those without a source were worked by hand
from the field table of the specification. Every decoder is fuzzed, and whatever it reads
without loss is written again byte for byte.

`)
	b.WriteString("| Profile | Characteristic | Feeds | Stored records | Person | Tested with |\n|---|---|---|---|---|---|\n")
	tested := map[UUID][]vector{}
	for _, v := range vectors(t) {
		uuid, _ := v.parts(t)
		tested[uuid] = append(tested[uuid], v)
	}
	profile := ""
	for _, p := range Characteristics() {
		name := p.Profile
		if name == profile {
			name = ""
		}
		profile = p.Profile
		feeds := "-"
		if len(p.Metrics) > 0 {
			feeds = strings.Join(p.Metrics, ", ")
		}
		stored, person := "-", "-"
		if p.Stored != "" {
			stored = p.Stored
		}
		if p.User {
			person = "yes"
		}
		fmt.Fprintf(&b, "| %s | %s `%s` | %s | %s | %s | %s |\n", name, p.Name, p.UUID, feeds, stored, person, testedWith(tested[p.UUID]))
	}
	return b.String()
}

func testedWith(list []vector) string {
	var sources []string
	public := 0
	for _, v := range list {
		if v.Source == "" {
			continue
		}
		public++
		source, _, _ := strings.Cut(v.Source, ",")
		source, _, _ = strings.Cut(source, " (")
		if !slices.Contains(sources, source) {
			sources = append(sources, source)
		}
	}
	text := fmt.Sprintf("%d vectors", len(list))
	if len(list) == 1 {
		text = "1 vector"
	}
	if public == 0 {
		return text + " by hand"
	}
	return fmt.Sprintf("%s, %d of them of %s", text, public, strings.Join(sources, "; "))
}
