package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	headerTime = 5 * time.Second // for a request's header to arrive
	idleTime   = time.Minute     // between two requests of a connection
	maxHeader  = 16 << 10        // bytes of a request's header
)

// door is a TCP address where HTTP is served while it is open, and where
// connections are refused while it is shut. The address stays its own in both
// states: a socket that is bound but never listens holds it, so that the system
// gives the port of a provider that is down to nobody else. Its methods are safe from any goroutine.
type door struct {
	handler http.Handler
	log     *slog.Logger
	network string // "tcp4" or "tcp6"
	addr    string // host:port, the port never 0

	mu    sync.Mutex
	held  int                   // file descriptor of the socket that holds the address; nothing = closed
	leave func(context.Context) // shuts the door; nil = it is shut
}

// nothing is no file descriptor.
const nothing = -1

// newDoor takes the address, a port of the system's choosing if it has port 0.
// The door is shut. The caller must close it.
func newDoor(addr *net.TCPAddr, handler http.Handler, log *slog.Logger) (*door, error) {
	fd, bound, err := hold(addr)
	if err != nil {
		return nil, fmt.Errorf("bind %s: %w", addr, err)
	}
	d := &door{handler: handler, log: log, network: "tcp6", addr: bound.String(), held: fd}
	if addr.IP.To4() != nil {
		d.network = "tcp4"
	}
	return d, nil
}

// hold binds a socket to the address and returns it with the address that it got.
func hold(addr *net.TCPAddr) (int, *net.TCPAddr, error) {
	family, name := syscall.AF_INET, syscall.Sockaddr(nil)
	if ip := addr.IP.To4(); ip != nil {
		name = &syscall.SockaddrInet4{Addr: [4]byte(ip), Port: addr.Port}
	} else {
		family, name = syscall.AF_INET6, &syscall.SockaddrInet6{Addr: [16]byte(addr.IP), Port: addr.Port}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, os.NewSyscallError("socket", err)
	}
	// With SO_REUSEADDR on both, a listener may share the address with a socket
	// that does not listen: socket(7).
	if err = os.NewSyscallError("setsockopt", syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)); err == nil {
		err = os.NewSyscallError("bind", syscall.Bind(fd, name))
	}
	if err == nil {
		name, err = syscall.Getsockname(fd)
	}
	if err != nil {
		syscall.Close(fd)
		return 0, nil, err
	}
	bound := *addr
	switch a := name.(type) {
	case *syscall.SockaddrInet4:
		bound.Port = a.Port
	case *syscall.SockaddrInet6:
		bound.Port = a.Port
	}
	return fd, &bound, nil
}

// open starts to serve. An open door stays as it is.
func (d *door) open() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.leave != nil {
		return nil
	}
	listener, err := net.Listen(d.network, d.addr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup // the accept loop and the connections
	server := &http.Server{
		Handler:           d.handler,
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(d.log.Handler(), slog.LevelInfo),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				running.Add(1)
			case http.StateClosed:
				running.Done()
			}
		},
	}
	running.Go(func() {
		if err := server.Serve(listener); err != http.ErrServerClosed {
			d.log.Error("accept", "addr", d.addr, "error", err)
		}
	})
	d.leave = func(grace context.Context) {
		cancel()
		if server.Shutdown(grace) != nil {
			server.Close()
		}
		running.Wait()
	}
	return nil
}

// shut refuses connections from now on and ends those that there are: requests
// that hang or are slow on purpose at once, others when they are answered or grace
// is done. It returns when all have ended. A shut door stays as it is.
func (d *door) shut(grace context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.leave != nil {
		d.leave(grace)
		d.leave = nil
	}
}

// close shuts the door and gives up its address, for ever. Only the first close
// does anything.
func (d *door) close(grace context.Context) {
	d.shut(grace)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held != nothing {
		syscall.Close(d.held)
		d.held = nothing
	}
}
