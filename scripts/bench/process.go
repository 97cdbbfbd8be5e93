package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The places of the cores that are used in the list of those that there are.
const (
	loadCore = 0 // also the database's
	esmeCore = 1
)

// coresVariable tells the child, which is pinned to one, which cores there are.
const coresVariable = "USSDD_BENCH_CORES"

// cores lists the cores that the benchmark may use.
func cores() ([]int, error) {
	var list []int
	if told := os.Getenv(coresVariable); told != "" {
		for field := range strings.FieldsSeq(told) {
			core, err := strconv.Atoi(field)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", coresVariable, err)
			}
			list = append(list, core)
		}
		return list, nil
	}
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	for core := 0; len(list) < set.Count(); core++ {
		if set.IsSet(core) {
			list = append(list, core)
		}
	}
	return list, nil
}

// startOn starts a command on one core: a child has the cores of the thread that
// started it. Where there is one core only, all share it.
func startOn(place int, cmd *exec.Cmd) error {
	list, err := cores()
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	one.Set(list[place%len(list)])
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return os.NewSyscallError("sched_setaffinity", err)
	}
	return errors.Join(cmd.Start(), os.NewSyscallError("sched_setaffinity", unix.SchedSetaffinity(0, &before)))
}

// process is an ESME that runs.
type process struct {
	cmd  *exec.Cmd
	log  string // file of its stderr
	done chan struct{}
}

// startESME starts an ESME on its core, with its files in dir.
func startESME(dir string, env []string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(args[0], args[1:]...), log: filepath.Join(dir, "log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd.Stderr, p.cmd.Env, p.cmd.Dir = log, env, dir
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := startOn(esmeCore, p.cmd); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // it is killed
		close(p.done)
	}()
	return p, nil
}

// kill ends the process and waits for that.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// cpu is the processor time that the process has used.
func (p *process) cpu() (time.Duration, error) {
	// The clock of a process: clock_getcpuclockid(3).
	const schedClock = 2
	return cpuClock(int32(^p.cmd.Process.Pid<<3 | schedClock))
}

func cpuClock(id int32) (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(t.Nano()), nil
}

// rss is the memory of the process in octets.
func (p *process) rss() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(text, []byte("VmRSS:"))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0, errors.New("no VmRSS")
	}
	kib, err := strconv.ParseInt(string(fields[0]), 10, 64)
	return kib << 10, err
}

// until runs f, and cancels its context when the process ends.
func (p *process) until(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-p.done:
			cancel(errors.New("the ESME ended"))
		case <-ended:
		}
	}()
	if err := f(ctx); err != nil {
		log, _ := os.ReadFile(p.log)
		return fmt.Errorf("%w (%v)\n%s", err, context.Cause(ctx), log[max(0, len(log)-2000):])
	}
	return nil
}
