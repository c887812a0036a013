package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answering is a client of a server with one answer.
func answering(t *testing.T, h http.HandlerFunc) *api.Client {
	t.Helper()
	s := httptest.NewServer(h)
	c := api.NewClient(s.URL+"/", "net", nil)
	t.Cleanup(func() {
		c.Close()
		s.Close()
	})
	return c
}

func code(t *testing.T, err error, want fault.Code) {
	t.Helper()
	if err == nil || fault.Of(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestProblemsComeBackAsFaults(t *testing.T) {
	c := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		w.Write([]byte(`{"code":"EXHAUSTED","detail":"the cap is used up","errors":[{"field":"a.b","detail":"too much"}]}`))
	})
	_, err := c.Network(context.Background())
	code(t, err, fault.Exhausted)
	if !strings.Contains(err.Error(), "the cap is used up; a.b: too much") {
		t.Errorf("detail lost: %v", err)
	}
}

func TestAnswersOfSomethingElseAreFaultsToo(t *testing.T) {
	for status, want := range map[int]fault.Code{
		http.StatusBadGateway: fault.Unavailable, http.StatusTooManyRequests: fault.Unavailable,
		http.StatusNotFound: fault.NotFound, http.StatusInternalServerError: fault.Internal,
		http.StatusFound: fault.Invalid,
	} {
		c := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(status)
			w.Write([]byte("<html>"))
		})
		_, err := c.Network(context.Background())
		code(t, err, want)
	}
	c := answering(t, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) })
	_, err := c.Network(context.Background())
	code(t, err, fault.Internal)
	_, err = api.NewClient("http://127.0.0.1:1", "net", nil).Network(context.Background())
	code(t, err, fault.Unavailable)
}

func TestAttackAGatewayThatSwapsABlob(t *testing.T) {
	c := answering(t, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("another")) })
	_, err := c.Blob(context.Background(), record.SumID([]byte("asked for")))
	code(t, err, fault.Internal)
}

func TestAttackAnAnswerWithoutEnd(t *testing.T) {
	c := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		block := make([]byte, 1<<20)
		for range 20 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	_, err := c.Blob(context.Background(), record.ID{})
	code(t, err, fault.TooLarge)
}

func TestWhatIsTooLargeIsNotSent(t *testing.T) {
	c := answering(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	_, err := c.Upload(context.Background(), record.ID{}, [][]byte{make([]byte, api.MaxUpload)}, nil)
	code(t, err, fault.TooLarge)
	_, err = c.Prove(context.Background(), record.Attest{Request: "x", Proof: make([]byte, api.MaxBody)})
	code(t, err, fault.TooLarge)
}

func TestWaitingOutlivesBrokenStreams(t *testing.T) {
	id := record.SumID([]byte("op")).String()
	asked := 0
	c := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		switch asked {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			w.Write([]byte("data: {\"id\":\"" + id + "\"}\n\n")) // and the stream ends
		default:
			w.Write([]byte("data: {\"id\":\"" + id + "\",\"done\":true,\"error\":{\"code\":\"CONFLICT\",\"detail\":\"there is another\"}}\n\n"))
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	op, err := c.Wait(ctx, &api.Operation{ID: record.SumID([]byte("op"))})
	code(t, err, fault.Conflict)
	if !op.Done || asked != 3 {
		t.Errorf("%+v after %d streams", op, asked)
	}
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Wait(ctx, &api.Operation{}); err != context.DeadlineExceeded {
		t.Errorf("got %v", err)
	}
}

func TestGeneratedFilesAreCurrent(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the code generators")
	}
	if out, err := exec.Command("go", "run", "../../internal/protogen", "-rest", "-check").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
