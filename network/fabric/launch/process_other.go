//go:build !unix

package launch

import (
	"context"
	"errors"
	"os/exec"
	"syscall"
)

var errNotUnix = errors.New("Fabric is launched on Unix systems only; point the clients at a network elsewhere")

func lockFile(context.Context, string, func()) (func(), error) { return nil, errNotUnix }

func ownGroup(*exec.Cmd) {}

func signalGroup(int, bool) error { return errNotUnix }

func processAttributes(bool) *syscall.SysProcAttr { return nil }

func processStart(int) (string, error) { return "", errNotUnix }

func processMemory(int) int64 { return 0 }
