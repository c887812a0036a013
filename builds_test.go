package main

import (
	"os"
	"os/exec"
	"testing"
)

// What runs on a hub or a phone is built for what hubs and phones are. In a page there is no
// store: what a page needs of the rest is built for it. The whole bridge, which takes
// minutes of building for each, is built for all of them with VITALVEIL_SOAK.
func TestTheEdgeBuildsForHubsPhonesAndPages(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: builds take long")
	}
	type target struct {
		os, arch string
		packages []string
	}
	targets := []target{
		{"linux", "arm", []string{"./wearable/...", "./bridge/radio/...", "./bridge/importer"}},
		{"js", "wasm", []string{"./wearable/...", "./bridge/radio", "./consent"}},
	}
	if os.Getenv("VITALVEIL_SOAK") != "" {
		for _, t := range []target{{os: "linux", arch: "amd64"}, {os: "linux", arch: "arm64"}, {os: "linux", arch: "arm"}, {os: "android", arch: "arm64"}, {os: "darwin", arch: "arm64"}, {os: "windows", arch: "amd64"}} {
			t.packages = []string{"./bridge/...", "./cmd/bridge"}
			targets = append(targets, t)
		}
		targets = append(targets, target{"js", "wasm", []string{"./he", "./zk", "./gateway/api"}})
	}
	for _, x := range targets {
		t.Run(x.os+"/"+x.arch, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "go", append([]string{"build"}, x.packages...)...)
			cmd.Env = append(os.Environ(), "GOOS="+x.os, "GOARCH="+x.arch, "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
