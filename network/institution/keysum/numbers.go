package keysum

import (
	"sync"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Numbers are the places of devices on the ledger, in the order in which they were
// enrolled; none ever changes. It is safe for concurrent use.
type Numbers struct {
	// enrolled returns the ledger's devices from a number on.
	enrolled func(from int) []record.ID

	mu      sync.Mutex
	devices []record.ID // by number
	numbers map[record.ID]int
}

// NewNumbers takes how the ledger's devices are read, from a number on.
func NewNumbers(enrolled func(from int) []record.ID) *Numbers {
	return &Numbers{enrolled: enrolled, numbers: map[record.ID]int{}}
}

// learn reads the devices that have been enrolled since the last time.
func (n *Numbers) learn() {
	for _, d := range n.enrolled(len(n.devices)) {
		n.numbers[d] = len(n.devices)
		n.devices = append(n.devices, d)
	}
}

// Of returns a device's number.
func (n *Numbers) Of(device record.ID) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i, ok := n.numbers[device]
	if !ok {
		n.learn()
		i, ok = n.numbers[device]
	}
	if !ok {
		return 0, fault.New(fault.Internal, "device %s is not on the ledger", device.Short())
	}
	return i, nil
}

// Device is the inverse of Of.
func (n *Numbers) Device(i int) (record.ID, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if i >= len(n.devices) {
		n.learn()
	}
	if i >= len(n.devices) {
		return record.ID{}, fault.New(fault.Internal, "there is no device number %d on the ledger", i)
	}
	return n.devices[i], nil
}

// Members returns the numbers of a cohort's devices, in its order.
func (n *Numbers) Members(members []record.CohortMember) ([]int, error) {
	out := make([]int, len(members))
	for i, m := range members {
		var err error
		if out[i], err = n.Of(m.Device); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Set returns devices as a set.
func (n *Numbers) Set(devices []record.ID) (Set, error) {
	var s Set
	for _, d := range devices {
		i, err := n.Of(d)
		if err != nil {
			return nil, err
		}
		if !s.Has(i) {
			s.Flip(i)
		}
	}
	return s, nil
}
