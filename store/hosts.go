package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

// splitHosts gives a DSN for each host of one that names several, as
// user:password@tcp(h1:3306,h2:3306)/database does, and the DSN itself if it
// names one, or none if one of several is empty. It looks for the parts as the
// driver does.
func splitHosts(dsn string) []string {
	slash := strings.LastIndexByte(dsn, '/')
	if slash < 0 {
		return []string{dsn}
	}
	at := strings.LastIndexByte(dsn[:slash], '@') + 1
	const open = "tcp("
	address := dsn[at:slash]
	if !strings.HasPrefix(address, open) || !strings.HasSuffix(address, ")") {
		return []string{dsn}
	}
	names := strings.Split(address[len(open):len(address)-1], ",")
	if len(names) == 1 {
		return []string{dsn}
	}
	var all []string
	for _, name := range names {
		if name == "" {
			return nil
		}
		all = append(all, dsn[:at]+open+name+")"+dsn[slash:])
	}
	return all
}

// A host that could not be used is tried again after hostRest, or before if
// there is no other. Unless the DSN sets timeout, it has hostTime to let a
// client in, less than callers wait for a call.
const (
	hostRest = 3 * time.Second
	hostTime = 2 * time.Second
)

// commitTime is how long a host may take to commit or roll back, which the
// driver lets nobody call away: more than a cluster needs to go on without a
// node that it has lost.
const commitTime = 15 * time.Second

// hosts connects to the first server of several that can be used: it answers,
// is not read-only and, if it is a node of a Galera cluster, has the state of
// the others. Safe for several goroutines.
type hosts struct {
	driver.Connector // the first host's
	all              []*host
	log              *slog.Logger
	now              func() time.Time

	mu    sync.Mutex // also of what is below in each host
	using *host      // what was connected to last
}

type host struct {
	driver.Connector
	name string
	time time.Duration // that it has to let a client in

	rest    time.Time // when to try again after a failure
	losses  int       // how often its connections were given up
	suspect bool      // a call got no answer in time
}

func (h *hosts) Connect(ctx context.Context) (driver.Conn, error) {
	var failed error
	for _, one := range h.order() {
		conn, wire, err := one.connect(ctx)
		if err == nil {
			return h.open(one, conn, wire), nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		_, answered := errors.AsType[*mysql.MySQLError](err)
		h.avoid(one, err, !answered && !errors.Is(err, errUnusable))
		err = fmt.Errorf("%s: %w", one.name, err)
		if failed != nil {
			err = fmt.Errorf("%w; %w", failed, err)
		}
		failed = err
	}
	return nil, failed
}

// suspect notes whether a host may have stopped answering.
func (h *hosts) suspect(one *host, may bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	one.suspect = may
}

// order gives the hosts as they are named, but those that rest at the end.
func (h *hosts) order() []*host {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	var all, resting []*host
	for _, one := range h.all {
		if now.Before(one.rest) {
			resting = append(resting, one)
		} else {
			all = append(all, one)
		}
	}
	return append(all, resting...)
}

// Host is one of several that a database's name has.
type Host struct {
	Name string // host:port
	Err  error  // why it cannot be used; nil = it can
}

// Hosts connects to each of the hosts, in their order. There are none unless
// the database's name has several.
func (db *DB) Hosts(ctx context.Context) (all []Host) {
	if db.hosts == nil {
		return nil
	}
	for _, one := range db.hosts.all {
		conn, _, err := one.connect(ctx)
		if err == nil {
			err = conn.Close()
		}
		all = append(all, Host{one.name, err})
	}
	return all
}

// open makes a connection of one to the host, to which new ones go.
func (h *hosts) open(one *host, conn mysqlConn, wire net.Conn) *hostConn {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.using != one {
		h.log.Info("database host in use", "host", one.name)
		h.using = one
	}
	one.suspect = false
	return &hostConn{mysqlConn: conn, wire: wire, host: one, hosts: h, losses: one.losses}
}

// avoid keeps a host from being tried for a while, and its connections from
// being used any more if they are lost.
func (h *hosts) avoid(one *host, why error, lost bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if lost {
		one.losses++
	}
	one.rest = h.now().Add(hostRest)
	h.log.Warn("database host cannot be used", "host", one.name, "error", why)
}

// connect connects to the host if it can be used.
func (o *host) connect(ctx context.Context) (conn mysqlConn, wire net.Conn, err error) {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, wireKey{}, &wire), o.time)
	defer cancel()
	connected, err := o.Connector.Connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	conn = connected.(mysqlConn)
	if err := usable(ctx, conn); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, wire, nil
}

// wireKey is the context's key of a *net.Conn that dial fills.
type wireKey struct{}

// dial dials for the driver.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	wire, err := new(net.Dialer).DialContext(ctx, network, address)
	if into, ok := ctx.Value(wireKey{}).(*net.Conn); ok && err == nil {
		*into = wire
	}
	return wire, err
}

// errUnusable: the server is there, but not to be used by new connections.
var errUnusable = errors.New("the server")

// usable returns why a server is not to be used. A node of a Galera cluster has
// each connection wait, before it reads, for what was committed at the others,
// so that a connection to another node than the one before finds what that one
// wrote.
func usable(ctx context.Context, conn mysqlConn) error {
	state, err := value(ctx, conn, "SHOW GLOBAL STATUS LIKE 'wsrep_local_state_comment'")
	if err != nil {
		return err
	}
	if state != "" && state != "Synced" {
		return fmt.Errorf("%w is %s, not Synced", errUnusable, state)
	}
	readOnly, err := value(ctx, conn, "SELECT @@GLOBAL.read_only")
	if err != nil {
		return err
	}
	if readOnly != "0" {
		return fmt.Errorf("%w is read-only", errUnusable)
	}
	if state != "" {
		_, err = conn.ExecContext(ctx, "SET SESSION wsrep_sync_wait = 1", nil)
	}
	return err
}

// value is the last column of the only row of a query, "" if there is none.
func value(ctx context.Context, conn mysqlConn, query string) (v string, err error) {
	rows, err := conn.QueryContext(ctx, query, nil)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := make([]driver.Value, len(rows.Columns()))
	switch err := rows.Next(row); {
	case errors.Is(err, io.EOF):
		return "", nil
	case err != nil:
		return "", err
	}
	switch v := row[len(row)-1].(type) {
	case []byte:
		return string(v), nil
	default:
		return fmt.Sprint(v), nil
	}
}

// mysqlConn is what the driver's connections can do.
type mysqlConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// hostConn is a connection that is given up when its host leaves the cluster,
// becomes read-only or does not answer.
type hostConn struct {
	mysqlConn
	wire   net.Conn // beneath it
	host   *host
	hosts  *hosts
	losses int // of the host, before it
}

// ResetSession is called before the connection is used again. If a call to its
// host got no answer in time, it looks whether there is anybody: else the
// callers of all connections to a host that hangs would wait in vain.
func (c *hostConn) ResetSession(ctx context.Context) error {
	c.hosts.mu.Lock()
	lost, suspect := c.losses != c.host.losses, c.host.suspect
	c.hosts.mu.Unlock()
	if !lost && suspect {
		pingCtx, cancel := context.WithTimeout(ctx, c.host.time)
		err := c.Ping(pingCtx)
		cancel()
		if ctx.Err() != nil {
			return driver.ErrBadConn
		}
		if lost = err != nil; lost {
			c.hosts.avoid(c.host, err, true)
		}
		c.hosts.suspect(c.host, false)
	}
	if lost || c.wire.SetDeadline(time.Time{}) != nil {
		return driver.ErrBadConn
	}
	return c.mysqlConn.ResetSession(ctx)
}

// watch gives the connection up if err says that its host can no longer be used.
func (c *hostConn) watch(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		c.hosts.suspect(c.host, true)
	}
	if !mysqlNumber(err, erUnknownComError, erOptionPrevents, erReadOnlyMode) {
		return err
	}
	c.hosts.avoid(c.host, err, true)
	return errors.Join(driver.ErrBadConn, err, c.mysqlConn.Close())
}

func (c *hostConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	result, err := c.mysqlConn.ExecContext(ctx, query, args)
	return result, c.watch(err)
}

func (c *hostConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.mysqlConn.QueryContext(ctx, query, args)
	return rows, c.watch(err)
}

func (c *hostConn) BeginTx(ctx context.Context, opt driver.TxOptions) (driver.Tx, error) {
	tx, err := c.mysqlConn.BeginTx(ctx, opt)
	if err != nil {
		return nil, c.watch(err)
	}
	return hostTx{tx, c}, nil
}

type hostTx struct {
	driver.Tx
	conn *hostConn
}

func (t hostTx) Commit() error   { return t.conn.end(t.Tx.Commit) }
func (t hostTx) Rollback() error { return t.conn.end(t.Tx.Rollback) }

// end ends a transaction within commitTime; the connection breaks after that.
func (c *hostConn) end(do func() error) error {
	if err := c.wire.SetDeadline(time.Now().Add(commitTime)); err != nil {
		return errors.Join(driver.ErrBadConn, err)
	}
	return c.watch(do())
}
