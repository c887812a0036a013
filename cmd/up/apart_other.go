//go:build !unix

package up

import "syscall"

func apart() *syscall.SysProcAttr { return nil }
