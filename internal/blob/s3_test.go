package blob

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/record"
)

const fileKeys = `{"access_key": "FROMTHEFILE", "secret_key": "s3cret"}`

// The example of the specification: GET of the first ten bytes of test.txt, and what is
// to come out.
func TestRequestsAreSignedAsInTheSpecification(t *testing.T) {
	b := &bucket{
		region: "us-east-1", keys: bucketKeys{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"},
		now: func() time.Time { return time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC) },
	}
	req, err := http.NewRequest(http.MethodGet, "https://examplebucket.s3.amazonaws.com/test.txt", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Range", "bytes=0-9")
	b.sign(req, nil)
	const want = "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
	if got := req.Header.Get("Authorization"); !strings.HasSuffix(got, want) {
		t.Errorf("it is signed %s, want %s", got, want)
	}
}

// recorded is a server in front of another, which notes who has signed what.
type recorded struct {
	mu   sync.Mutex
	seen []string // Authorization
}

// s3 starts a real server of objects, which is built on first use, and one before it that
// notes requests.
func s3(t *testing.T) (*Store, *recorded, *url.URL) {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "s3server")
	build := exec.Command("go", "build", "-C", "peers", "-o", exe, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: the S3 server of the tests cannot be built: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	server := exec.Command(exe, address, "blobs")
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	r := &recorded{}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		r.seen = append(r.seen, q.Header.Get("Authorization"))
		r.mu.Unlock()
		proxy.ServeHTTP(w, q)
	}))
	t.Cleanup(front.Close)
	s, err := OpenURL("s3://blobs?region=eu-central-1&endpoint="+front.URL, []byte(fileKeys))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, r, &url.URL{Scheme: "http", Host: address}
}

func TestBlobsInABucketAreKeptAsInFiles(t *testing.T) {
	// What a library would look for is there, and wrong.
	home := t.TempDir()
	for name, value := range map[string]string{
		"HOME": home, "AWS_ACCESS_KEY_ID": "FROMTHEENVIRONMENT", "AWS_SECRET_ACCESS_KEY": "x", "AWS_PROFILE": "other",
		"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_REGION": "elsewhere", "HTTP_PROXY": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1",
	} {
		if name != "HOME" { // the go command keeps its cache below it
			t.Setenv(name, value)
		}
	}
	files := filepath.Join(home, "credentials")
	if err := os.WriteFile(files, []byte("[default]\naws_access_key_id = FROMHOME\naws_secret_access_key = x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", files)

	s, seen, behind := s3(t)
	ctx := t.Context()
	data := make([]byte, Max)
	rand.Read(data)
	id, err := s.Put(ctx, data)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(ctx, id); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes come back, %v", len(got), err)
	}
	if _, err := s.Put(ctx, data); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if ok, err := s.Has(ctx, id); !ok || err != nil {
		t.Errorf("it is stored: %v, %v", ok, err)
	}
	none := record.RandomID()
	if ok, err := s.Has(ctx, none); ok || err != nil {
		t.Errorf("nothing is stored: %v, %v", ok, err)
	}
	if _, err := s.Get(ctx, none); !errors.Is(err, ErrNotFound) {
		t.Errorf("nothing is there: %v", err)
	}
	if err := s.PutNamed(ctx, none, data); !errors.Is(err, ErrMismatch) {
		t.Errorf("under another name: %v", err)
	}

	// Somebody changes it behind our back; the next upload mends it.
	req, err := http.NewRequest(http.MethodPut, behind.JoinPath("blobs", key(id)).String(), strings.NewReader("changed"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.(*http.Transport).Clone().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if _, err := s.Get(ctx, id); !errors.Is(err, ErrCorrupt) {
		t.Errorf("changed: %v", err)
	}
	if err := s.PutNamed(ctx, id, data); err != nil {
		t.Errorf("uploaded again: %v", err)
	}
	if got, err := s.Get(ctx, id); err != nil || !bytes.Equal(got, data) {
		t.Errorf("mended: %d bytes, %v", len(got), err)
	}
	if err := errors.Join(s.Delete(ctx, id), s.Delete(ctx, id)); err != nil {
		t.Errorf("deleted, twice: %v", err)
	}
	if _, err := s.Get(ctx, id); !errors.Is(err, ErrNotFound) {
		t.Errorf("after the deletion: %v", err)
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	for _, a := range seen.seen {
		if !strings.HasPrefix(a, "AWS4-HMAC-SHA256 Credential=FROMTHEFILE/") || !strings.Contains(a, "/eu-central-1/s3/") {
			t.Errorf("a request is signed %q", a)
		}
	}
	if len(seen.seen) < 10 {
		t.Errorf("%d requests were seen", len(seen.seen))
	}
}

func TestAPlaceOfBlobsIsNamedExactly(t *testing.T) {
	const good = "s3://b?region=r&endpoint=https://s3.example"
	for place, keys := range map[string]string{
		"s3://b?region=r": fileKeys,
		"s3://?region=r&endpoint=https://s3.example":           fileKeys,
		"s3://b/prefix?region=r&endpoint=https://s3.example":   fileKeys,
		"s3://b?region=r&endpoint=http://s3.example":           fileKeys, // not encrypted
		"s3://b?region=r&endpoint=http://localhost.s3.example": fileKeys,
		good + "&profile=other":                                fileKeys,
		good + "&region=s":                                     fileKeys,
		good:                                                   "",
		good + "#":                                             `{"access_key": "a"}`,
		"s3://b?region=s&endpoint=https://s3.example":          `{"access_key": "a", "secret_key": "s", "token": "t"}`,
		"file://host/dir":                                      "",
		"file:dir":                                             "",
		"/dir":                                                 "",
		"mem://":                                               "",
	} {
		if s, err := OpenURL(place, []byte(keys)); err == nil {
			s.Close()
			t.Errorf("%s with keys %q was opened", place, keys)
		}
	}
	s, err := OpenURL(good, []byte(fileKeys))
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}
