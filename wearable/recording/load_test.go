package recording

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const head = "subject,t_seconds,metric,value,unit\n"

func writeFile(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func gz(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestReplayReadsPlainAndCompressedFilesOfOneSubject(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "b.csv", head+"p1,-0.5,heart_rate,61,/min\np2,0,eda,0.1,uS\n")
	writeFile(t, dir, "a.csv.gz", gz(t, head+"p1,59.99,nibp_sys,120,mm[Hg]\np1,60,heart_rate,62.5,/min\n"))
	src, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(src.People) != 2 || !slices.Equal(src.Ignored, []string{"eda"}) {
		t.Fatalf("subjects %d, ignored %v", len(src.People), src.Ignored)
	}
	p := src.People[0]
	if got := p.Metrics(); !slices.Equal(got, []string{"heart_rate", "bp_systolic"}) {
		t.Errorf("metrics %v", got)
	}
	var times []int64
	for _, s := range p.Samples {
		times = append(times, s.Unix-Epoch)
	}
	if !slices.Equal(times, []int64{-1, 59, 60}) {
		t.Errorf("times %v, want whole seconds rounded down and sorted", times)
	}
	first, last := p.Hours()
	if first != Epoch/3600-24 || last != Epoch/3600+23 {
		t.Errorf("hours %d..%d, want the two whole days", first, last)
	}
}

func TestReplayRefusesBadInputNamingFileAndLine(t *testing.T) {
	good := "p1,0,heart_rate,61,/min\n"
	long := head + strings.Repeat(good, 5000)
	cases := []struct{ name, file, text, want string }{
		{"missing column", "x.csv", "subject,t_seconds,metric,value\np1,0,heart_rate,61\n", `x.csv:1: missing column "unit"`},
		{"extra column", "x.csv", "subject,t_seconds,metric,value,unit,note\n", "x.csv:1: 6 columns"},
		{"no header", "x.csv", "", "x.csv:1: empty file"},
		{"value not a number", "x.csv", head + good + "p1,1,heart_rate,fast,/min\n", `x.csv:3: value "fast"`},
		{"value in scientific notation", "x.csv", head + "p1,1,heart_rate,6e1,/min\n", `x.csv:2: value "6e1"`},
		{"NaN", "x.csv", head + "p1,1,heart_rate,NaN,/min\n", `x.csv:2: value "NaN"`},
		{"time not a number", "x.csv", head + "p1,soon,heart_rate,61,/min\n", `x.csv:2: t_seconds "soon"`},
		{"time beyond ten years", "x.csv", head + good + good + "p1,400000000,heart_rate,61,/min\n", "x.csv:4: t_seconds 400000000 is more than ten years"},
		{"wrong unit", "x.csv", head + "p1,0,heart_rate,61,bpm\n", `x.csv:2: unit "bpm" for heart_rate, want "/min"`},
		{"empty field", "x.csv", head + ",0,heart_rate,61,/min\n", "x.csv:2: subject is empty"},
		{"short row", "x.csv", head + good + "p1,0,heart_rate\n", "x.csv:3:"},
		{"bare quote", "x.csv", head + good + "p\"1,0,heart_rate,61,/min\n", "x.csv:3:"},
		{"not gzip", "x.csv.gz", head + good, "x.csv.gz: not a gzip file"},
		{"truncated gzip", "x.csv.gz", gz(t, long)[:60], "the file is cut off"},
		{"only unknown metrics", "x.csv", head + "p1,0,eda,0.1,uS\np1,0,abp_sys,120,mm[Hg]\n", "no reading of a known metric in 1 files (ignored: abp_sys, eda)"},
		{"no file", "x.txt", "", "no *.csv or *.csv.gz file below"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, dir, c.file, c.text)
			_, err := Load(dir)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("an absent directory was read")
	}
}

func TestReplayTruncatedGzipNamesTheLineAfterTheLastGoodOne(t *testing.T) {
	dir := t.TempDir()
	var b strings.Builder
	b.WriteString(head)
	for i := range 20000 {
		b.WriteString("p1," + strings.Repeat("1", i%7+1) + ",heart_rate,61,/min\n")
	}
	whole := gz(t, b.String())
	writeFile(t, dir, "x.csv.gz", whole[:len(whole)-20])
	_, err := Load(dir)
	if err == nil || !strings.Contains(err.Error(), "x.csv.gz:") || !strings.Contains(err.Error(), "cut off") {
		t.Fatalf("error %v", err)
	}
}

func FuzzReplayRows(f *testing.F) {
	f.Add(head + "p1,0,heart_rate,61,/min\n")
	f.Add(head + "p1,-0.5,nibp_dia,61.25,mm[Hg]\n")
	f.Add("subject,t_seconds\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		l := loader{people: map[string]*Person{}, ignored: map[string]bool{}}
		if err := l.rows("x.csv", strings.NewReader(text)); err != nil && !strings.HasPrefix(err.Error(), "x.csv:") {
			t.Fatalf("error without file and line: %v", err)
		}
	})
}
