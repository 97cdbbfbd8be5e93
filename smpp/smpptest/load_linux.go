package smpptest

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pacer ticks. Go's own timers are up to a millisecond late when a process is
// otherwise idle, which would make bursts of what an open loop must spread; a
// timerfd is not.
type pacer struct {
	file *os.File
	buf  [8]byte
}

func newPacer(every time.Duration) (*pacer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	file := os.NewFile(uintptr(fd), "timerfd")
	interval := unix.NsecToTimespec(int64(every))
	if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: interval, Value: interval}, nil); err != nil {
		file.Close()
		return nil, os.NewSyscallError("timerfd_settime", err)
	}
	return &pacer{file: file}, nil
}

// wait returns at the next tick, at once if that is past; its error says that
// the pacer is closed.
func (p *pacer) wait() error {
	_, err := p.file.Read(p.buf[:])
	return err
}

// Close ends wait.
func (p *pacer) Close() error { return p.file.Close() }
