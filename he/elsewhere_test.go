package he

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestVectorsElsewhere: the golden vectors are the same bytes on other processors:
// this package's tests of them are built for each and run there, or in an emulator.
// It compiles much of the standard library anew, so it runs with VITALVEIL_SOAK=1
// only.
func TestVectorsElsewhere(t *testing.T) {
	if os.Getenv("VITALVEIL_SOAK") != "1" {
		t.Skip("SKIPPED: golden vectors on arm64 and WebAssembly are checked with VITALVEIL_SOAK=1")
	}
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	wasm := filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec_node.js")
	for target, runner := range map[string][]string{
		"linux/arm64": {"qemu-aarch64-static"},
		"js/wasm":     {"node", "--stack-size=8192", wasm},
		"wasip1/wasm": {"node", "--no-warnings", "testdata/wasi.mjs"},
	} {
		t.Run(target, func(t *testing.T) {
			if target == runtime.GOOS+"/"+runtime.GOARCH {
				t.Skip("this is where all tests run")
			}
			if _, err := exec.LookPath(runner[0]); err != nil {
				t.Skipf("SKIPPED: %s is not installed, so nothing is known about %s", runner[0], target)
			}
			goos, goarch, _ := strings.Cut(target, "/")
			binary := filepath.Join(t.TempDir(), "he.test")
			build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, ".")
			build.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("build: %v\n%s", err, out)
			}
			args := append(runner[1:], binary, "-test.v", "-test.run", "^(TestVectors|TestSizesAndMargins|TestPRFIsKMAC|TestErrorTableIsTheDiscreteGaussian)$")
			out, err := exec.CommandContext(t.Context(), runner[0], args...).CombinedOutput()
			if err != nil || strings.Count(string(out), "--- PASS: Test") != 4 {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
