package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// maxPath is how long a unix socket's path can be: sun_path has 108 octets, the
// last of them zero (unix(7)).
const maxPath = 107

// DefaultPath is where the daemon's socket is unless it is told otherwise.
func DefaultPath() string {
	if dir := os.Getenv("RUNTIME_DIRECTORY"); dir != "" {
		return filepath.Join(dir, "control.sock")
	}
	return "ussdd.sock"
}

// CheckPath says why there can be no socket at path. A socket that is there
// already is not looked into.
func CheckPath(path string) error {
	if len(path) > maxPath {
		return fmt.Errorf("%s has %d octets; the path of a unix socket has at most %d", path, len(path), maxPath)
	}
	dir := filepath.Dir(path)
	if st, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: no such directory", dir)
	} else if err != nil {
		return err
	} else if !st.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is not a socket", path)
	}
	return nil
}

// Listen makes the socket, for the process's user and group alone. What a dead
// process has left at path is replaced; a live one is an error. Closing the
// listener removes the socket, but not the lock beside it, path with ".lock".
// It waits for nobody.
//
// It sets the process's umask for a moment: call it before much else runs.
func Listen(path string) (*net.UnixListener, error) {
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	// Two processes that start at once must not each remove the other's socket. The
	// lock is on a file that only the process's user can open, so that nobody else
	// can keep the daemon from starting. It stays behind: to remove it would be the
	// same race again.
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s: another ussdd is just starting there", path)
	} else if err != nil {
		return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// Until its group may use it, only the process's own user can open it.
	umask := syscall.Umask(0o177)
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	syscall.Umask(umask)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

// removeStale removes a socket that nobody listens on any more.
func removeStale(path string) error {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	switch {
	case err == nil:
		conn.Close()
		return fmt.Errorf("%s: another ussdd is running and listens there", path)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	}
	return err
}
