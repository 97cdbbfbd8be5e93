package stack

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
)

// ErrNoMariaDB says that the machine has no MariaDB and none could be installed.
var ErrNoMariaDB = errors.New("no MariaDB")

// noMariaDB is the exit code of scripts/with-mariadb that says so.
const noMariaDB = 3

// installTimeout bounds the start of the server, which may have to be installed.
const installTimeout = 5 * time.Minute

// MariaDB is a private server that can be killed. Its data outlive that, and go
// with Stack.Close.
type MariaDB struct {
	process *Process
	config  *mysql.Config // of a user who may create databases
	pidFile string
}

// MariaDB starts a server by scripts/with-mariadb, makes an empty database there,
// and has the stack use it. Errors: ErrNoMariaDB.
func (s *Stack) MariaDB(ctx context.Context) (*MariaDB, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	told := filepath.Join(s.Dir, "mariadb.told")
	const tell = `printf '%s\n' "$USSDD_TEST_MYSQL" "$USSDD_TEST_MYSQL_PID" >"$0.new" && mv "$0.new" "$0" && exec sleep infinity`
	p := &Process{name: "mariadb", parent: true}
	p.cmd = exec.Command(filepath.Join(strings.TrimSpace(string(root)), "scripts", "with-mariadb"), "-restart", "sh", "-c", tell, told)
	p.cmd.Env = cleanEnv()
	if err := s.run(p, nil, nil); err != nil {
		return nil, err
	}
	text, err := p.await(ctx, told, installTimeout)
	if err != nil {
		select {
		case <-p.done:
			if p.cmd.ProcessState.ExitCode() == noMariaDB {
				err = fmt.Errorf("%w: %w", ErrNoMariaDB, err)
			}
		default:
		}
		return nil, err
	}
	dsn, pidFile, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	m := &MariaDB{process: p, pidFile: pidFile}
	if m.config, err = mysql.ParseDSN(dsn); err != nil {
		return nil, err
	}
	m.config.Logger = new(mysql.NopLogger) // the errors say it too
	err = m.use(func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, "CREATE DATABASE ussdd")
		return err
	})
	s.Database = "mysql:" + dsn + "ussdd"
	return m, err
}

// use calls f with the server.
func (m *MariaDB) use(f func(*sql.DB) error) error {
	connector, err := mysql.NewConnector(m.config)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	return errors.Join(f(db), db.Close())
}

// Kill ends the server with SIGKILL, and returns when the next one serves.
func (m *MariaDB) Kill(ctx context.Context) error {
	before, err := m.pid()
	if err == nil {
		err = syscall.Kill(before, syscall.SIGKILL)
	}
	if err != nil {
		return fmt.Errorf("kill mariadbd: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if pid, err := m.pid(); err == nil && pid != before && m.use(func(db *sql.DB) error { return db.PingContext(ctx) }) == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-m.process.done:
			return fmt.Errorf("mariadb ended: %v\n%s", m.process.err, m.process.Log())
		case <-ctx.Done():
			return fmt.Errorf("mariadbd does not come back: %w\n%s", ctx.Err(), m.process.Log())
		}
	}
}

func (m *MariaDB) pid() (int, error) {
	text, err := os.ReadFile(m.pidFile)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}
