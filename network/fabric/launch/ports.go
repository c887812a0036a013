package launch

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Free ports are taken from below the range that systems give to outgoing
// connections (from 32768 on Linux): one of those could be in the way when the
// network is started again.
const (
	firstPort = 20000
	lastPort  = 32000
)

const portAttempts = 200

// choosePorts returns n consecutive ports of the loopback address that are free
// now, from base on or, if base is 0, anywhere.
func choosePorts(base, n int) ([]int, error) {
	if base != 0 {
		if base < 1024 || base+n > 65535 {
			return nil, fmt.Errorf("ports %d to %d: want them within 1024 to 65535", base, base+n-1)
		}
		return portsFrom(base, n)
	}
	var last error
	for range portAttempts {
		ports, err := portsFrom(firstPort+rand.N(lastPort-firstPort-n), n)
		if err == nil {
			return ports, nil
		}
		last = err
	}
	return nil, fmt.Errorf("no %d consecutive free ports between %d and %d: %w", n, firstPort, lastPort, last)
}

func portsFrom(base, n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		ports[i] = base + i
		if err := portFree(ports[i]); err != nil {
			return nil, err
		}
	}
	return ports, nil
}

func portFree(port int) error {
	l, err := net.Listen("tcp", address(port))
	if err != nil {
		return fmt.Errorf("port %d is in use by another program: %w", port, err)
	}
	return l.Close()
}

// address is where a port is reached; nothing listens anywhere but on loopback.
func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// hostAddress is the same by the name that certificates and the channel's
// configuration use.
func hostAddress(port int) string { return fmt.Sprintf("localhost:%d", port) }
