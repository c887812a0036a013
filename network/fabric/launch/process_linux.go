package launch

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// processAttributes puts a process into a session of its own, so that it is the
// leader of a group and no terminal ends it. An attached one is
// also killed by the kernel when the thread that started it ends, so that it
// cannot outlive a launcher that is killed.
func processAttributes(attached bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true}
	if attached {
		a.Pdeathsig = syscall.SIGKILL
	}
	return a
}

// processStart identifies a running process together with its id: when it was
// started, in clock ticks since boot, and which boot that was. It is empty for
// a process that has ended.
func processStart(pid int) (string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	// The command name, in parentheses, may hold anything: count from its end.
	i := bytes.LastIndexByte(data, ')')
	if i < 0 {
		return "", fmt.Errorf("/proc/%d/stat is not as expected", pid)
	}
	fields := strings.Fields(string(data[i+1:]))
	const state, start = 0, 19 // fields 3 and 22 of proc(5)
	if len(fields) <= start {
		return "", fmt.Errorf("/proc/%d/stat is not as expected", pid)
	}
	if fields[state] == "Z" || fields[state] == "X" {
		return "", nil
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	return fields[start] + " " + strings.TrimSpace(string(boot)), nil
}

// processMemory returns the resident memory of a process in bytes.
func processMemory(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
