package gateway

import (
	"errors"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/state"
)

// ReadJournal shows use every operation in the journal of a gateway that does not
// run, in no particular order. It is for checks afterwards: what the gateway told
// others has to be on the ledger.
func ReadJournal(dir string, use func(*apiv1.Operation) error) error {
	if err := state.Check(dir, journalVersion); err != nil {
		return err
	}
	db, err := pebble.Open(filepath.Join(dir, "store"), &pebble.Options{Logger: state.Quiet{}, ReadOnly: true})
	if err != nil {
		return err
	}
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{'o'}, UpperBound: []byte{'o' + 1}})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		op := new(apiv1.Operation)
		if err = proto.Unmarshal(it.Value(), op); err == nil {
			err = use(op)
		}
	}
	return errors.Join(err, it.Error(), it.Close(), db.Close())
}
