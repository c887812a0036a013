package vault

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// GetAll calls use with the value of every name, nil where there is none. One
// iterator goes through all: names in ascending order cost little more than reading
// on.
func (v *Vault) GetAll(names []string, use func(i int, value []byte) error) error {
	it, err := v.db.NewIter(&pebble.IterOptions{})
	if err != nil {
		return err
	}
	for i, name := range names {
		var value []byte
		if it.SeekGE([]byte(name)) && string(it.Key()) == name {
			if value, err = v.open([]byte(name), it.Value()); err != nil {
				err = fmt.Errorf("%s: %w", name, err)
				break
			}
		}
		if err = it.Error(); err != nil {
			break
		}
		if err = use(i, value); err != nil {
			break
		}
	}
	return errors.Join(err, it.Close())
}
