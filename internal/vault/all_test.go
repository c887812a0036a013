package vault

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

func TestGetAllReadsWhatGetReads(t *testing.T) {
	v := newPlace(t).open(t)
	defer closed(t, v)
	for i := range 5 {
		put(t, v, fmt.Sprint("a/", 2*i), fmt.Sprint(i))
	}
	// In order and not, with names that are not there, one of them after all others.
	names := []string{"a/0", "a/1", "a/4", "a/2", "b", "a/8", "a/"}
	var got []string
	err := v.GetAll(names, func(i int, value []byte) error {
		one, found, err := v.Get([]byte(names[i]))
		if err != nil || found != (value != nil) || string(one) != string(value) {
			t.Errorf("%s: %q, Get says %q, %v (%v)", names[i], value, one, found, err)
		}
		got = append(got, names[i])
		return nil
	})
	if err != nil || !slices.Equal(got, names) {
		t.Errorf("got %v (%v)", got, err)
	}
}

// TestAttackGetAllOfAValueUnderAnothersName: whoever can write to the disk moves a
// value to another name.
func TestAttackGetAllOfAValueUnderAnothersName(t *testing.T) {
	v := newPlace(t).open(t)
	defer closed(t, v)
	put(t, v, "a", "one")
	put(t, v, "b", "two")
	sealed, closer, err := v.db.Get([]byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := v.db.Set([]byte("b"), slices.Clone(sealed), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	closer.Close()
	err = v.GetAll([]string{"b"}, func(int, []byte) error {
		t.Error("it was read")
		return nil
	})
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
}
