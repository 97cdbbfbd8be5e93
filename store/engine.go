package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// engine is all that differs between the engines, beside the migrations'
// dialects.
type engine struct {
	name string

	// transactionalDDL: a migration is one transaction. Where it is not, each
	// of its statements can be run again.
	transactionalDDL bool

	// snapshot is the isolation in which all statements see one moment;
	// SQLite's only one does.
	snapshot sql.IsolationLevel

	ping   string // query that needs the database and nothing in it
	tables string // query for the names of all tables

	// duplicate reports whether err is a violated primary key or unique index;
	// the transaction goes on.
	duplicate func(error) bool
	// transient reports whether the same transaction may succeed when it is run
	// again; it has been rolled back, even if this is the error of its commit.
	transient func(error) bool
	// lost reports whether the connection broke. A transaction whose commit had
	// not been sent was rolled back; of another nobody knows.
	lost func(error) bool

	// keepOld ends an INSERT that leaves rows alone whose key is there already.
	// column is any of the key's columns.
	keepOld func(column string) string
	// keepNewer ends an INSERT into sessions that overwrites columns of a row
	// that is there only if the given one is of the same session and newer: has
	// more steps, or as many and the one there has not ended. columns do not
	// hold steps and ended_at, which are always set.
	keepNewer func(columns []string) string
	// keepNewerInPlace ends an INSERT that does so only for a row there whose
	// indexed columns stay as they are, and then changes no index; nil if that is
	// no cheaper.
	keepNewerInPlace func() string

	// behind writes rows that nobody waits for.
	behind func(*DB, context.Context, rows) error

	// exists reports whether a migration's statement failed because it has been
	// run before. Only where a migration is no transaction.
	exists func(error) bool
}

var sqliteEngine = &engine{
	name:             "sqlite",
	transactionalDDL: true,
	ping:             "SELECT COUNT(*) FROM sqlite_master",
	tables:           "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'",
	duplicate: func(err error) bool {
		e, ok := errors.AsType[*sqlite.Error](err)
		return ok && (e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
	},
	transient: func(err error) bool {
		e, ok := errors.AsType[*sqlite.Error](err)
		return ok && (e.Code()&0xff == sqlite3.SQLITE_BUSY || e.Code()&0xff == sqlite3.SQLITE_LOCKED)
	},
	lost:    func(error) bool { return false },
	keepOld: func(string) string { return " ON CONFLICT DO NOTHING" },
	keepNewer: func(columns []string) string {
		return sqliteKeepNewer(append(columns[:len(columns):len(columns)], "ended_at"))
	},
	keepNewerInPlace: func() string {
		return sqliteKeepNewer(slices.DeleteFunc(slices.Clone(sessionChanging), func(c string) bool { return c == "dialogue" })) +
			" AND (excluded.ended_at, excluded.dialogue) = (sessions.ended_at, sessions.dialogue)"
	},
	behind: (*DB).pace,
	exists: func(error) bool { return false },
}

func sqliteKeepNewer(columns []string) string {
	var b strings.Builder
	b.WriteString(" ON CONFLICT (id) DO UPDATE SET ")
	for _, c := range columns {
		fmt.Fprintf(&b, "%[1]s = excluded.%[1]s, ", c)
	}
	b.WriteString("steps = excluded.steps" +
		" WHERE (excluded.msisdn, excluded.smsc, excluded.started_at) = (sessions.msisdn, sessions.smsc, sessions.started_at)" +
		" AND (excluded.steps > sessions.steps OR (excluded.steps = sessions.steps AND sessions.ended_at = 0))")
	return b.String()
}

// MySQL's and MariaDB's error numbers.
const (
	erDupFieldname    = 1060 // a column to add is there
	erDupKeyName      = 1061 // an index to add is there
	erDupEntry        = 1062
	erUnknownComError = 1047 // Galera: the node is not in the cluster, or not yet or no longer
	erOptionPrevents  = 1290 // the server is read-only
	erReadOnlyMode    = 1836 // likewise
	erCantDrop        = 1091 // an index, or in MariaDB a constraint, to drop is not there
	erLockWaitTimeout = 1205 // rolls back the statement only; the whole transaction is rolled back before it is run again
	erLockDeadlock    = 1213 // also how Galera reports a failed certification, at commit too
	erCheckread       = 1020 // MariaDB with innodb_snapshot_isolation: a row changed since the snapshot
	erCheckNotFound   = 3821 // a constraint to drop is not there, in MySQL
)

var mysqlEngine = &engine{
	name:      "mysql",
	snapshot:  sql.LevelRepeatableRead,
	ping:      "SELECT 1",
	tables:    "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE()",
	duplicate: func(err error) bool { return mysqlNumber(err, erDupEntry) },
	transient: func(err error) bool { return mysqlNumber(err, erLockDeadlock, erLockWaitTimeout, erCheckread) },
	lost: func(err error) bool {
		broken, ok := errors.AsType[*net.OpError](err)
		return errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) || mysqlNumber(err, erUnknownComError) ||
			ok && broken.Op != "dial"
	},
	keepOld: func(column string) string { return fmt.Sprintf(" ON DUPLICATE KEY UPDATE %[1]s = %[1]s", column) },
	keepNewer: func(columns []string) string {
		const (
			same  = "(VALUES(msisdn), VALUES(smsc), VALUES(started_at)) = (msisdn, smsc, started_at)"
			newer = same + " AND (VALUES(steps) > steps OR (VALUES(steps) = steps AND ended_at = 0))"
		)
		var b strings.Builder
		b.WriteString(" ON DUPLICATE KEY UPDATE ")
		// Assignments see those to their left, so what the condition reads is
		// set last.
		for _, c := range append(columns[:len(columns):len(columns)], "ended_at") {
			fmt.Fprintf(&b, "%[1]s = IF(%[2]s, VALUES(%[1]s), %[1]s), ", c, newer)
		}
		b.WriteString("steps = IF(" + same + ", GREATEST(steps, VALUES(steps)), steps)")
		return b.String()
	},
	behind: (*DB).bulk,
	exists: func(err error) bool {
		return mysqlNumber(err, erDupKeyName, erDupFieldname, erCantDrop, erCheckNotFound)
	},
}

// mysqlNumber reports whether err is a MySQL server's, with one of the numbers.
func mysqlNumber(err error, numbers ...uint16) bool {
	e, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && slices.Contains(numbers, e.Number)
}

// Limits of connections. A writer that waits for another process's lock on
// SQLite, or for a row lock on MySQL, gives up after lockWait and its
// transaction is retried.
const (
	lockWait         = 5 * time.Second
	dialTimeout      = 5 * time.Second // MySQL, unless the DSN sets timeout
	mysqlConnections = 64
	mysqlLifetime    = 30 * time.Minute
	hostsLifetime    = 5 * time.Minute // after which all are back at the first host that can be used
)

func (db *DB) openSQLite(path string) error {
	db.engine = sqliteEngine
	switch {
	case path == "":
		return errors.New("sqlite: no path after the colon")
	case path == ":memory:" || strings.HasPrefix(path, "file:") || strings.ContainsRune(path, '?'):
		return errors.New("sqlite: the name is the path of a file, without options")
	}
	db.name = "sqlite:" + path
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("%s: %w", db.name, err)
	}
	db.path = path
	switch info, err := os.Stat(filepath.Dir(path)); {
	case err != nil:
		return fmt.Errorf("%s: %w", db.name, err)
	case !info.IsDir():
		return fmt.Errorf("%s: %s is not a directory", db.name, filepath.Dir(path))
	}
	connect := func(connections int, parameters string, wrap func(driver.Connector) driver.Connector) (*sqlx.DB, error) {
		// mode=rw: connecting never creates the file.
		dsn := fmt.Sprintf("%s?mode=rw&_busy_timeout=%d&_foreign_keys=1&_dqs=0&%s",
			&url.URL{Scheme: "file", Path: path}, lockWait.Milliseconds(), parameters)
		c, err := sqlite.NewConnector(dsn)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", db.name, err)
		}
		pool := sqlx.NewDb(sql.OpenDB(wrap(prepared{c})), "sqlite")
		pool.SetMaxOpenConns(connections)
		pool.SetMaxIdleConns(connections)
		return pool, nil
	}
	// SQLite has one writer at a time. Writers of this process queue for the
	// one connection, where ctx can call them away, instead of polling for the
	// file's lock. It keeps 16 MiB of pages, because sessions touch pages all
	// over their index, and lets the journal grow to as much before it is
	// copied: most pages are then copied once for many changes.
	if db.w, err = connect(1, "_journal_mode=WAL&_synchronous=FULL&_txlock=immediate&_pragma=cache_size(-16384)&_pragma=wal_autocheckpoint(4000)", db.wrap); err != nil {
		return err
	}
	db.r, err = connect(max(4, runtime.NumCPU()), "_query_only=1", func(c driver.Connector) driver.Connector { return c })
	return err
}

// exists reports whether there is something to connect to: a server is assumed,
// a file is looked for.
func (db *DB) exists() bool {
	if db.path == "" {
		return true
	}
	_, err := os.Stat(db.path)
	return !errors.Is(err, fs.ErrNotExist)
}

// create makes the SQLite file, which nobody else may read.
func (db *DB) create() error {
	if db.exists() {
		return nil
	}
	f, err := os.OpenFile(db.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func (db *DB) openMySQL(dsn string) error {
	db.engine = mysqlEngine
	list := &hosts{log: db.log, now: time.Now}
	var addresses []string
	var cfg *mysql.Config
	dsns := splitHosts(dsn)
	if len(dsns) == 0 {
		return errors.New("mysql: one of the DSN's hosts is empty; their form is tcp(host1:3306,host2:3306)")
	}
	for _, one := range dsns {
		var err error
		cfg, err = mysql.ParseDSN(one)
		// The parser's error is not repeated: it may quote a part of the password.
		// A DSN that lacks its last slash parses, with the rest behind a slash of
		// the password for the database's name.
		if err != nil || strings.ContainsAny(cfg.DBName, "@(") {
			return errors.New("mysql: the DSN cannot be read; its form is " + dsnForm)
		}
		if cfg.DBName == "" {
			return errors.New("mysql: the DSN names no database; its form is " + dsnForm)
		}
		connector, err := db.mysqlConnector(cfg, len(dsns) > 1)
		if err != nil {
			return fmt.Errorf("mysql:%s(%s)/%s: %w", cfg.Net, cfg.Addr, cfg.DBName, err)
		}
		list.all = append(list.all, &host{Connector: connector, name: cfg.Addr, time: cfg.Timeout})
		addresses = append(addresses, cfg.Addr)
	}
	db.name = fmt.Sprintf("mysql:%s(%s)/%s", cfg.Net, strings.Join(addresses, ","), cfg.DBName)
	list.Connector = list.all[0].Connector
	connector, lifetime := list.Connector, mysqlLifetime
	if len(dsns) > 1 {
		db.hosts = list
		connector, lifetime = list, hostsLifetime
	}
	db.w = sqlx.NewDb(sql.OpenDB(db.wrap(readCommitted{connector})), "mysql")
	db.w.SetMaxOpenConns(mysqlConnections)
	db.w.SetMaxIdleConns(mysqlConnections)
	db.w.SetConnMaxLifetime(lifetime)
	db.r = db.w
	return nil
}

const dsnForm = "user:password@tcp(host:3306)/database"

// mysqlConnector connects to one host, which is one of several or not, as the
// store needs it.
func (db *DB) mysqlConnector(cfg *mysql.Config, several bool) (driver.Connector, error) {
	if err := cfg.Apply(mysql.Charset("utf8mb4", "utf8mb4_bin")); err != nil {
		return nil, err
	}
	cfg.ClientFoundRows = true   // an UPDATE reports the rows it matched, as SQLite does
	cfg.InterpolateParams = true // one round trip a statement instead of three
	cfg.MultiStatements = false
	cfg.Logger = driverLog{db.log}
	if cfg.Timeout == 0 {
		cfg.Timeout = dialTimeout
		if several {
			cfg.Timeout = hostTime
		}
	}
	if several {
		cfg.DialFunc = dial
	}
	if cfg.Params == nil {
		cfg.Params = make(map[string]string)
	}
	// Strict: a value that does not fit is an error, never cut; a table is
	// InnoDB or is not made.
	cfg.Params["sql_mode"] = "'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,ONLY_FULL_GROUP_BY'"
	cfg.Params["innodb_lock_wait_timeout"] = fmt.Sprint(int(lockWait.Seconds()))
	return mysql.NewConnector(cfg)
}

// readCommitted connects with that isolation: each statement sees what has been
// committed, and an UPDATE locks the rows that it changes and not the gaps
// beside them. The variable for it has different names in MySQL and MariaDB,
// the statement has not.
type readCommitted struct{ driver.Connector }

func (c readCommitted) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.(driver.ExecerContext).ExecContext(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// driverLog takes the MySQL driver's reports of broken connections, whose
// errors reach the callers too.
type driverLog struct{ log *slog.Logger }

func (l driverLog) Print(v ...any) { l.log.Debug("mysql driver", "report", fmt.Sprint(v...)) }
