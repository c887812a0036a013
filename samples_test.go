package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/cmd/bridge"
	"github.com/vitalveil/vitalveil/cmd/gateway"
	"github.com/vitalveil/vitalveil/cmd/institution"
	"github.com/vitalveil/vitalveil/network/site"
)

// fieldsOf lists the names of a configuration's fields, those of its parts included.
func fieldsOf(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" {
			names = append(names, name)
		}
		if f.Type.Kind() == reflect.Struct {
			names = append(names, fieldsOf(f.Type)...)
		}
	}
	return names
}

func TestSamplesLoadAndSayEverything(t *testing.T) {
	tables, err := os.ReadFile(filepath.Join("docs", "samples", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for role, config := range map[string]func() any{
		"institution": func() any { return new(institution.Config) },
		"gateway":     func() any { return new(gateway.Config) },
		"bridge":      func() any { return new(bridge.Config) },
	} {
		text := ""
		for _, size := range []string{"minimal", "full"} {
			path := filepath.Join("docs", "samples", role+"-"+size+".json")
			if err := site.Load(path, config()); err != nil {
				t.Errorf("%v", err)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text += string(b)
		}
		for _, name := range fieldsOf(reflect.TypeOf(config()).Elem()) {
			if !strings.Contains(text, `"`+name+`":`) {
				t.Errorf("no sample of %s.json has %q", role, name)
			}
			if !strings.Contains(string(tables), "`"+name+"`") {
				t.Errorf("docs/samples/README.md does not say what %q is", name)
			}
		}
	}
}

// program is where a unit says that the program is.
var program = regexp.MustCompile(`/usr/(local/)?bin/vitalveil\b`)

// mostExposure is the worst that "systemd-analyze security" may say of a unit, of 100.
const mostExposure = "15"

// TestUnitsAreSoundAndConfined has systemd itself look at the units.
func TestUnitsAreSoundAndConfined(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("SKIPPED: there is no systemd-analyze here, so nobody has looked at the units")
	}
	units, err := filepath.Glob(filepath.Join("docs", "systemd", "*.service"))
	if err != nil || len(units) < 5 {
		t.Fatalf("%d units, %v", len(units), err)
	}
	dir := t.TempDir()
	for _, path := range units {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// The program is not installed here, nor are units that come before.
		text := program.ReplaceAllString(string(b), "/bin/true")
		copied := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(copied, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("systemd-analyze", "verify", "--man=no", copied).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", path, err, out)
		}
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold="+mostExposure, copied).CombinedOutput()
		if err != nil {
			t.Errorf("%s is exposed more than %s of 100: %v\n%s", path, mostExposure, err, out)
		}
	}
}
