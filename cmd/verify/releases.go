package verify

import (
	"context"
	"reflect"

	"github.com/vitalveil/vitalveil/internal/record"
)

// releases checks that each release rests on shares that members have signed for, and
// stands as they have signed since: the index takes both from what was submitted, with
// its signatures, and not from what the ledger says follows.
func (c *checker) releases(context.Context) int {
	n := 0
	for id, q := range c.queries {
		if q.Status != record.QueryReleased {
			continue
		}
		n++
		signed, err := c.index.Query(id)
		switch {
		case err != nil:
			c.wrong("release of query %s: %v", id, err)
		case signed.Status != q.Status || signed.Release != q.Release || signed.Standing != q.Standing || !reflect.DeepEqual(signed.Shares, q.Shares):
			c.wrong("release of query %s: it does not follow from what its asker and the holders of its shares have signed", id)
		}
	}
	return n
}
