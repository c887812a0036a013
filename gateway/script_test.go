package gateway

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/vitalveil/vitalveil/gateway/api"
)

// TestAScriptSignsRequests runs the example of docs/api.md, which shares no code with
// the client here.
func TestAScriptSignsRequests(t *testing.T) {
	for _, tool := range []string{"sh", "openssl", "xxd", "curl", "sed", "tr"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not here", tool)
		}
	}
	w := newWorld(t)
	d := w.device()
	w.advance(10 * 3600)
	dir := t.TempDir()
	key := filepath.Join(dir, "key.pem")
	w.ok(os.WriteFile(key, privatePEM(w, d.Key), 0o600))
	run := func(method, target string, body ...string) string {
		t.Helper()
		args := append([]string{filepath.Join("..", "docs", "sign-request.sh"), key, api.DeviceParty(d.ID), w.Genesis.Network, method, w.url + target}, body...)
		out, err := exec.Command("sh", args...).Output()
		w.ok(err)
		return string(out)
	}
	base := "/v1/devices/" + d.ID.String()
	var receipts struct {
		Receipts []any `json:"receipts"`
		Status   int   `json:"status"`
	}
	out := run("GET", base+"/receipts?kind=row&from=0&until=5")
	w.ok(json.Unmarshal([]byte(out), &receipts))
	if receipts.Receipts == nil || receipts.Status != 0 {
		t.Errorf("a signed read is answered %s", out)
	}
	data, pointers := d.rows(startHour, startHour+2)
	file := filepath.Join(dir, "body.json")
	w.ok(os.WriteFile(file, uploadBody(w, [][]byte{data}, pointers), 0o600))
	for range 8 { // signatures with short numbers too
		var op struct{ ID, Kind string }
		out = run("POST", base+"/uploads", file)
		w.ok(json.Unmarshal([]byte(out), &op))
		if op.Kind != kindUpload {
			t.Fatalf("a signed write is answered %s", out)
		}
	}
}

func privatePEM(w *world, key *ecdsa.PrivateKey) []byte {
	w.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	w.ok(err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
