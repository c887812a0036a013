package gateway

import (
	"testing"
	"time"

	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/record"
)

func TestAJournalCanBeReadAfterwards(t *testing.T) {
	dir := t.TempDir()
	j, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for range 3 {
		e := entry{id: record.RandomID(), request: &apiv1.StoredRequest{}}
		e.state = &apiv1.Operation{Id: e.id.String()}
		if err := j.accept(e); err != nil {
			t.Fatal(err)
		}
		done := len(want) > 0
		if done {
			if err := j.finish(e.id, &apiv1.Operation{Id: e.id.String(), Done: true}, time.Unix(1, 0), ""); err != nil {
				t.Fatal(err)
			}
		}
		want[e.id.String()] = done
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	err = ReadJournal(dir, func(op *apiv1.Operation) error {
		if done, ok := want[op.GetId()]; !ok || done != op.GetDone() {
			t.Errorf("read %v", op)
		}
		delete(want, op.GetId())
		return nil
	})
	if err != nil || len(want) > 0 {
		t.Errorf("%v; not read: %v", err, want)
	}
}
