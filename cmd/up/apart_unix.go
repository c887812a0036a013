//go:build unix

package up

import "syscall"

// apart keeps an interrupt of the terminal from the processes: the supervisor ends them in
// its order.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
