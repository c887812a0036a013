package blob

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/vitalveil/vitalveil/internal/record"
)

// bucketKeys are the access keys of a bucket.
type bucketKeys struct {
	Access string `json:"access_key"`
	Secret string `json:"secret_key"`
}

// s3Time bounds a request to a bucket.
const s3Time = time.Minute

// bucket is the part of S3 that blobs need: whole objects put, got, looked for and
// deleted by their names, with the signature "AWS4-HMAC-SHA256". It is made of a URL and
// of keys alone: nothing is looked for in the environment, in files of the user's or at
// an address of the network's.
type bucket struct {
	base   *url.URL // endpoint and bucket
	region string
	keys   bucketKeys
	http   *http.Client
	now    func() time.Time
}

// openS3 keeps blobs in the bucket that a URL names.
func openS3(u *url.URL, keys []byte) (*Store, error) {
	b, err := newBucket(u, keys)
	if err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	return New(blob.NewBucket(b)), nil
}

func newBucket(u *url.URL, keys []byte) (*bucket, error) {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, err
	}
	for name, values := range q {
		if name != "region" && name != "endpoint" || len(values) != 1 {
			return nil, fmt.Errorf("a bucket's URL has region and endpoint, each once, and no %q", name)
		}
	}
	endpoint, err := url.Parse(q.Get("endpoint"))
	if err != nil || endpoint.Host == "" || endpoint.User != nil || endpoint.RawQuery != "" || u.Host == "" || q.Get("region") == "" || u.Path != "" || u.User != nil {
		return nil, errors.New("a bucket's URL is s3://BUCKET?region=R&endpoint=https://HOST")
	}
	if ip, err := netip.ParseAddr(endpoint.Hostname()); endpoint.Scheme != "https" && (endpoint.Scheme != "http" || err != nil || !ip.IsLoopback()) {
		return nil, errors.New("a bucket's endpoint is https, or http at an address of loopback")
	}
	b := &bucket{base: endpoint.JoinPath(u.Host), region: q.Get("region"), now: time.Now}
	if err := record.DecodeJSON(keys, len(keys), &b.keys); err != nil || b.keys.Access == "" || b.keys.Secret == "" {
		return nil, errors.New(`the file with a bucket's keys has {"access_key": "...", "secret_key": "..."}`)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.MaxIdleConnsPerHost = 16
	b.http = &http.Client{Timeout: s3Time, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // a signature is for one host
	}}
	return b, nil
}

// status is an answer of the server's that is no success.
type status int

func (s status) Error() string {
	return fmt.Sprintf("the bucket's server answers %d %s", int(s), http.StatusText(int(s)))
}

// do sends a signed request for an object. The caller closes the answer's body.
func (b *bucket) do(ctx context.Context, method, key string, body []byte, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, b.base.JoinPath(key).String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	b.sign(req, body)
	resp, err := b.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, errors.Join(status(resp.StatusCode), resp.Body.Close())
	}
	return resp, nil
}

// sign adds the date, the body's hash and the signature over these, the path, the host
// and the other headers. Paths of blobs need no escapes, and requests have no query.
func (b *bucket) sign(req *http.Request, body []byte) {
	now := b.now().UTC()
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	req.Header.Set("X-Amz-Date", now.Format("20060102T150405Z"))
	req.Header.Set("X-Amz-Content-Sha256", hash)
	names, lines := canonical(req)
	request := strings.Join([]string{req.Method, req.URL.EscapedPath(), "", lines, names, hash}, "\n")
	sum = sha256.Sum256([]byte(request))
	day := now.Format("20060102")
	scope := day + "/" + b.region + "/s3/aws4_request"
	text := strings.Join([]string{"AWS4-HMAC-SHA256", now.Format("20060102T150405Z"), scope, hex.EncodeToString(sum[:])}, "\n")
	key := []byte("AWS4" + b.keys.Secret)
	for _, part := range []string{day, b.region, "s3", "aws4_request", text} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+b.keys.Access+"/"+scope+",SignedHeaders="+names+",Signature="+hex.EncodeToString(key))
}

// canonical is the names of the headers that are signed, and the lines with these.
func canonical(req *http.Request) (string, string) {
	lines := map[string]string{"host": req.Host}
	for name, values := range req.Header {
		lines[strings.ToLower(name)] = strings.TrimSpace(strings.Join(values, ","))
	}
	names := slices.Sorted(maps.Keys(lines))
	var text strings.Builder
	for _, n := range names {
		text.WriteString(n + ":" + lines[n] + "\n")
	}
	return strings.Join(names, ";"), text.String()
}

// ErrorCode implements driver.Bucket.
func (*bucket) ErrorCode(err error) gcerrors.ErrorCode {
	s, ok := errors.AsType[status](err)
	switch {
	case !ok:
		return gcerrors.Unknown
	case s == http.StatusNotFound:
		return gcerrors.NotFound
	case s == http.StatusPreconditionFailed || s == http.StatusConflict:
		return gcerrors.FailedPrecondition
	case s == http.StatusForbidden || s == http.StatusUnauthorized:
		return gcerrors.PermissionDenied
	}
	return gcerrors.Unknown
}

// As implements driver.Bucket.
func (*bucket) As(any) bool { return false }

// ErrorAs implements driver.Bucket.
func (*bucket) ErrorAs(error, any) bool { return false }

// Attributes implements driver.Bucket.
func (b *bucket) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	resp, err := b.do(ctx, http.MethodHead, key, nil, nil)
	if err != nil {
		return nil, err
	}
	return &driver.Attributes{Size: resp.ContentLength, AsFunc: func(any) bool { return false }}, resp.Body.Close()
}

// object is the body of an object that is read.
type object struct {
	io.ReadCloser
	size int64
}

func (o object) Attributes() *driver.ReaderAttributes { return &driver.ReaderAttributes{Size: o.size} }
func (object) As(any) bool                            { return false }

// NewRangeReader implements driver.Bucket, for whole objects.
func (b *bucket) NewRangeReader(ctx context.Context, key string, offset, length int64, _ *driver.ReaderOptions) (driver.Reader, error) {
	if offset != 0 || length >= 0 {
		return nil, errNotNeeded
	}
	resp, err := b.do(ctx, http.MethodGet, key, nil, nil)
	if err != nil {
		return nil, err
	}
	return object{resp.Body, resp.ContentLength}, nil
}

// put gathers an object and sends it when it is closed.
type put struct {
	bytes.Buffer
	send func([]byte) error
}

func (p *put) Close() error { return p.send(p.Bytes()) }

// NewTypedWriter implements driver.Bucket: an object is there as a whole, and acknowledged
// by the server, when the writer is closed without an error.
func (b *bucket) NewTypedWriter(ctx context.Context, key, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	header := http.Header{"Content-Type": {contentType}}
	if o.IfNotExist {
		header.Set("If-None-Match", "*")
	}
	return &put{send: func(body []byte) error {
		if err := ctx.Err(); err != nil {
			return err // given up
		}
		resp, err := b.do(ctx, http.MethodPut, key, body, header)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}}, nil
}

// Delete implements driver.Bucket.
func (b *bucket) Delete(ctx context.Context, key string, _ *driver.DeleteOptions) error {
	resp, err := b.do(ctx, http.MethodDelete, key, nil, nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// errNotNeeded is for what no blob needs.
var errNotNeeded = errors.New("this bucket only puts, gets and deletes whole objects")

// ListPaged implements driver.Bucket.
func (*bucket) ListPaged(context.Context, *driver.ListOptions) (*driver.ListPage, error) {
	return nil, errNotNeeded
}

// Copy implements driver.Bucket.
func (*bucket) Copy(context.Context, string, string, *driver.CopyOptions) error { return errNotNeeded }

// SignedURL implements driver.Bucket.
func (*bucket) SignedURL(context.Context, string, *driver.SignedURLOptions) (string, error) {
	return "", errNotNeeded
}

// Close implements driver.Bucket.
func (b *bucket) Close() error {
	b.http.CloseIdleConnections()
	return nil
}
