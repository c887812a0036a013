package details

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Source is where patients' keys come from: a member's vault, or a Client of it.
type Source interface {
	// DetailsKey returns a patient's key, not checked against the digest. fault.Unavailable: it is not here yet, try
	// again; fault.Purged: the patient is erased, and the key destroyed.
	DetailsKey(ctx context.Context, r Ref) (Key, error)
}

// The protocol on the socket: a connection is one question,
//
//	socketMagic (4) ‖ patient (32) ‖ digest (32) ‖ blob (32)
//
// and one answer: a byte that says what follows, and the key (32) if it is there.
const (
	socketMagic   = "vvk1"
	questionBytes = len(socketMagic) + 3*len(record.ID{})

	saysKey   = 0
	saysLater = 1
	saysGone  = 2

	// answerTime bounds one question, and greetTime how long one may take to arrive.
	answerTime = 5 * time.Second
	greetTime  = 2 * time.Second
	// maxQuestions bounds how many are answered at once.
	maxQuestions = 64
	// takeAgain is how often a socket that another process of the member serves is
	// tried again.
	takeAgain = time.Second
	// acceptAgain is how long to wait where no connection can be taken.
	acceptAgain = 100 * time.Millisecond
	// maxPath is what a socket's address has room for, with its end, on every
	// system.
	maxPath = 103
)

func (r Ref) question() []byte {
	b := append(make([]byte, 0, questionBytes), socketMagic...)
	b = append(b, r.Patient[:]...)
	b = append(b, r.Digest[:]...)
	return append(b, r.Blob[:]...)
}

func parseQuestion(b []byte) (Ref, error) {
	var r Ref
	if len(b) != questionBytes || string(b[:len(socketMagic)]) != socketMagic {
		return r, errors.New("that is no question for a details key")
	}
	b = b[len(socketMagic):]
	for _, id := range []*record.ID{&r.Patient, &r.Digest, &r.Blob} {
		b = b[copy(id[:], b):]
	}
	return r, nil
}

// CheckPath refuses a socket path that no system takes.
func CheckPath(path string) error {
	if len(path) > maxPath {
		return fmt.Errorf("the socket's path %s has %d characters, and at most %d are possible: choose a shorter directory", path, len(path), maxPath)
	}
	return nil
}

// Serve answers on a socket of mode 0600 at path until ctx ends. While another
// process serves it, Serve waits for its end.
func Serve(ctx context.Context, path string, keys Source, log *slog.Logger) error {
	if err := CheckPath(path); err != nil {
		return err
	}
	for ctx.Err() == nil {
		l, err := take(ctx, path)
		if err != nil {
			return fmt.Errorf("details socket: %w", err)
		}
		if l != nil {
			return serve(ctx, path, l, keys, log)
		}
		sleep(ctx, takeAgain)
	}
	return nil
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// take makes the socket; nil while somebody answers there. It is made in a
// directory that others cannot enter and then moved to its place, so that at no
// moment anybody else can connect.
func take(ctx context.Context, path string) (net.Listener, error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		return nil, c.Close()
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "s")
	if err := CheckPath(made); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", made)
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(made, 0o600), os.Rename(made, path)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func serve(ctx context.Context, path string, l net.Listener, keys Source, log *slog.Logger) error {
	stop := context.AfterFunc(ctx, func() {
		// In this order: from the moment that nobody answers here the path is another's.
		if err := errors.Join(os.Remove(path), l.Close()); err != nil {
			log.Warn("details socket", "err", err)
		}
	})
	defer stop()
	var answering sync.WaitGroup
	defer answering.Wait()
	places := make(chan struct{}, maxQuestions)
	for {
		places <- struct{}{}
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil && err == nil: // the last before the socket is closed
			c.Close()
			<-places
			continue
		case ctx.Err() != nil:
			return nil
		case err != nil: // no file descriptor is left, for a moment
			log.Warn("details socket", "err", err)
			<-places
			sleep(ctx, acceptAgain)
			continue
		}
		answering.Go(func() {
			defer func() { <-places }()
			if err := answer(ctx, c, keys); err != nil {
				log.Debug("a question for a details key was not answered", "err", err)
			}
		})
	}
}

// answer answers one question and closes the connection.
func answer(ctx context.Context, c net.Conn, keys Source) error {
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(greetTime)); err != nil {
		return err
	}
	question := make([]byte, questionBytes)
	if _, err := io.ReadFull(c, question); err != nil {
		return err
	}
	r, err := parseQuestion(question)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if err := c.SetDeadline(time.Now().Add(answerTime + greetTime)); err != nil {
		return err
	}
	k, err := keys.DetailsKey(ctx, r)
	switch {
	case err == nil:
		_, err = c.Write(append([]byte{saysKey}, k.secret[:]...))
	case fault.Of(err) == fault.Purged:
		_, err = c.Write([]byte{saysGone})
	default:
		_, werr := c.Write([]byte{saysLater})
		err = errors.Join(err, werr)
	}
	return err
}

// Client asks the socket of this member's key holder.
type Client struct{ path string }

// NewClient returns a Client of the socket at path. It connects when it is asked.
func NewClient(path string) *Client { return &Client{path} }

// DetailsKey implements Source. Whoever uses the key has to Check it.
func (c *Client) DetailsKey(ctx context.Context, r Ref) (Key, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime+2*greetTime)
	defer cancel()
	says, secret, err := c.ask(ctx, r)
	switch {
	case err != nil:
		return Key{}, fault.New(fault.Unavailable, "the member's key holder does not answer; is the institution running? %w", err)
	case says == saysGone:
		return Key{}, Purged(r.Patient)
	case says != saysKey:
		return Key{}, Later(r.Patient)
	}
	return ParseKey(secret)
}

func (c *Client) ask(ctx context.Context, r Ref) (byte, []byte, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", c.path)
	if err != nil {
		return 0, nil, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return 0, nil, err
		}
	}
	if _, err := conn.Write(r.question()); err != nil {
		return 0, nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(conn, 1+KeyBytes+1))
	if err != nil {
		return 0, nil, err
	}
	if len(answer) == 0 || (answer[0] == saysKey) != (len(answer) == 1+KeyBytes) || len(answer) > 1+KeyBytes {
		return 0, nil, fmt.Errorf("an answer of %d bytes", len(answer))
	}
	return answer[0], answer[1:], nil
}

// Later says that a patient's key is not here yet.
func Later(patient record.ID) error {
	return fault.New(fault.Unavailable, "the details key of patient %s is not here yet; try again", patient.Short())
}

// Purged says for good that a patient's key is destroyed.
func Purged(patient record.ID) error {
	return fault.New(fault.Purged, "the details of patient %s were erased, which is final", patient.Short())
}
