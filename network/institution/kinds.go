package institution

import (
	"errors"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/institution/column"
)

// rowKind is one kind of sealed rows, of hours or of days: how they open, and where they
// are kept for sums. Everything else is the same for both.
type rowKind struct {
	params  *he.Params
	columns *column.Columns // nil for the registrar, which never asks
}

// kind returns the kind of rows that a cohort or a pointer is about.
func (me *member) kind(daily bool) rowKind {
	if daily {
		return me.days
	}
	return me.hours
}

// openColumns opens the columns of every kind that the network's rows have.
func (me *member) openColumns() error {
	if me.self.MSP == me.cfg.Genesis.Registrar {
		return nil
	}
	for _, k := range []*rowKind{&me.hours, &me.days} {
		if k.params == nil {
			continue
		}
		var err error
		if k.columns, err = column.Open(k.params, me.cfg.Genesis.Network, me.cfg.Dir, me.vault, me.numbers); err != nil {
			return err
		}
	}
	return nil
}

// dropColumns deletes a device's rows from all columns.
func (me *member) dropColumns(device record.ID) error {
	return errors.Join(me.hours.columns.Drop(device), me.days.columns.Drop(device))
}

func (me *member) clearColumns() error {
	return errors.Join(me.hours.columns.Clear(), me.days.columns.Clear())
}
