package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"
)

func TestSplitHosts(t *testing.T) {
	for dsn, want := range map[string][]string{
		"":                    {""},
		"u:p@tcp(h:3306)/db":  {"u:p@tcp(h:3306)/db"},
		"u:p@tcp(h:3306)":     {"u:p@tcp(h:3306)"},
		"u:p@unix(/a,/b)/db":  {"u:p@unix(/a,/b)/db"},
		"u:p@tcp(a,b:3307)/d": {"u:p@tcp(a)/d", "u:p@tcp(b:3307)/d"},
		"u:p@tcp(a,,b)/d":     nil,
		"u:p@tcp(a,)/d":       nil,
		"tcp(a,b)/d":          {"tcp(a)/d", "tcp(b)/d"},
		"u:@tcp(x,y)/@tcp([fe80::1]:3306,[::1])/d?timeout=1s&tls=true": {
			"u:@tcp(x,y)/@tcp([fe80::1]:3306)/d?timeout=1s&tls=true", "u:@tcp(x,y)/@tcp([::1])/d?timeout=1s&tls=true",
		},
	} {
		if got := splitHosts(dsn); !slices.Equal(got, want) {
			t.Errorf("%s is %q, want %q", dsn, got, want)
		}
	}
}

// node is a server that there is no need to start.
type node struct {
	name, state, readOnly string
	down                  error // what connecting gives
	fails                 error // what a statement gives, and a commit
	open                  int   // connections
	pings                 int
	set                   []string
}

func (n *node) Connect(ctx context.Context) (driver.Conn, error) {
	wire := ctx.Value(wireKey{}).(*net.Conn)
	*wire, _ = net.Pipe()
	if n.down != nil {
		return nil, n.down
	}
	n.open++
	return &nodeConn{node: n}, nil
}

func (n *node) Driver() driver.Driver { return nil }

type nodeConn struct {
	mysqlConn
	node   *node
	closed bool
}

func (c *nodeConn) QueryContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	switch query {
	case "SHOW GLOBAL STATUS LIKE 'wsrep_local_state_comment'":
		return &nodeRows{row: []driver.Value{[]byte("wsrep_local_state_comment"), []byte(c.node.state)}}, nil
	case "SELECT @@GLOBAL.read_only":
		return &nodeRows{row: []driver.Value{[]byte(c.node.readOnly)}}, nil
	}
	return &nodeRows{row: []driver.Value{[]byte(c.node.name)}}, c.node.fails
}

func (c *nodeConn) ExecContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	c.node.set = append(c.node.set, query)
	return driver.RowsAffected(0), c.node.fails
}

func (c *nodeConn) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) {
	return c, c.node.fails
}
func (c *nodeConn) Ping(context.Context) error         { c.node.pings++; return c.node.down }
func (c *nodeConn) Commit() error                      { return c.node.fails }
func (c *nodeConn) Rollback() error                    { return nil }
func (c *nodeConn) ResetSession(context.Context) error { return nil }
func (c *nodeConn) IsValid() bool                      { return !c.closed }

func (c *nodeConn) Close() error {
	if !c.closed {
		c.closed = true
		c.node.open--
	}
	return nil
}

type nodeRows struct {
	row  []driver.Value
	read bool
}

func (r *nodeRows) Columns() []string { return make([]string, len(r.row)) }
func (r *nodeRows) Close() error      { return nil }

func (r *nodeRows) Next(dest []driver.Value) error {
	if r.read {
		return io.EOF
	}
	r.read = true
	copy(dest, r.row)
	return nil
}

// cluster is a store on three synced nodes, and what they see.
type cluster struct {
	db    *DB
	hosts *hosts
	nodes []*node
	clock time.Time
	log   strings.Builder
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{clock: time.Unix(1e9, 0)}
	c.hosts = &hosts{log: slog.New(slog.NewTextHandler(&c.log, nil)), now: func() time.Time { return c.clock }}
	for _, name := range []string{"a", "b", "c"} {
		n := &node{name: name, state: "Synced", readOnly: "0"}
		c.nodes = append(c.nodes, n)
		c.hosts.all = append(c.hosts.all, &host{Connector: n, name: name, time: time.Minute})
	}
	c.hosts.Connector = c.hosts.all[0].Connector
	pool := sqlx.NewDb(sql.OpenDB(c.hosts), "mysql")
	pool.SetMaxIdleConns(0) // each use is a new connection
	t.Cleanup(func() { pool.Close() })
	c.db = &DB{engine: mysqlEngine, w: pool, r: pool, hosts: c.hosts, log: slog.New(slog.DiscardHandler)}
	return c
}

// where is the node that a transaction runs at.
func (c *cluster) where() (name string) {
	err := c.db.tx(context.Background(), func(tx *sqlx.Tx) error { return tx.Get(&name, "SELECT name") })
	if err != nil {
		return err.Error()
	}
	return name
}

func TestHostsAreUsedInOrder(t *testing.T) {
	c := newCluster(t)
	a, b, third := c.nodes[0], c.nodes[1], c.nodes[2]
	expect := func(what, want string) {
		t.Helper()
		if got := c.where(); got != want {
			t.Errorf("%s: at %s, want %s", what, got, want)
		}
		if n := a.open + b.open + third.open; n != 0 {
			t.Errorf("%s: %d connections are left open", what, n)
		}
	}
	expect("all are there", "a")
	a.down = errors.New("refused")
	expect("the first is dead", "b")
	a.down = nil
	expect("the first is back, but was just dead", "b")
	c.clock = c.clock.Add(hostRest)
	expect("the first is back", "a")

	a.state, b.readOnly = "Donor/Desynced", "1"
	expect("the first is not synced, the second read-only", "c")
	third.down = errors.New("unreachable")
	expect("none", "c: unreachable; a: the server is Donor/Desynced, not Synced; b: the server is read-only")
	if got, want := fmt.Sprint(c.db.Hosts(t.Context())), "[{a the server is Donor/Desynced, not Synced} {b the server is read-only} {c unreachable}]"; got != want {
		t.Errorf("hosts are %s, want %s", got, want)
	}
	third.down = nil
	expect("the third is back when all rest", "c")

	c.clock = c.clock.Add(hostRest)
	a.state, a.readOnly, b.readOnly, a.set = "", "0", "0", nil
	expect("no Galera", "a")
	if len(a.set) != 0 || !slices.Equal(third.set, []string{"SET SESSION wsrep_sync_wait = 1", "SET SESSION wsrep_sync_wait = 1"}) {
		t.Errorf("set %q and %q", a.set, third.set)
	}
	for _, want := range []string{`msg="database host in use" host=b`, `msg="database host cannot be used" host=a error=refused`} {
		if n := strings.Count(c.log.String(), want); n != 1 {
			t.Errorf("%d times %s in %s", n, want, c.log.String())
		}
	}
}

// TestHostLeavesCluster: what a node refuses because it is no longer in the
// cluster, or read-only, is done at another, and its connection is not used any
// more.
func TestHostLeavesCluster(t *testing.T) {
	for _, number := range []uint16{1047, 1290, 1836} {
		for _, transaction := range []func(*DB, context.Context, func(*sqlx.Tx) error) error{(*DB).tx, (*DB).snapshot} {
			c := newCluster(t)
			a := c.nodes[0]
			tries := 0
			var name string
			err := transaction(c.db, t.Context(), func(tx *sqlx.Tx) error {
				if tries++; tries == 1 {
					a.fails = &mysql.MySQLError{Number: number, Message: "no"}
				}
				return tx.Get(&name, "SELECT name")
			})
			if err != nil || tries != 2 || name != "b" || a.open != 0 {
				t.Errorf("%d: %d tries, at %s, %v, %d connections left", number, tries, name, err, a.open)
			}
		}
	}
}

// TestHostHangs: once a call has got no answer in time, the next asks whether
// anybody is there, and if not, nobody waits for the other connections.
func TestHostHangs(t *testing.T) {
	c := newCluster(t)
	c.db.w.SetMaxIdleConns(10)
	a := c.nodes[0]
	var idle []*sqlx.Tx
	for range 5 {
		tx, err := c.db.w.BeginTxx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, tx)
	}
	for _, tx := range idle {
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	late := func() {
		a.fails = context.DeadlineExceeded
		if got := c.where(); got != context.DeadlineExceeded.Error() {
			t.Errorf("at %s", got)
		}
		a.fails = nil
	}
	late()
	if got := c.where(); got != "a" || a.pings != 1 || a.open != 5 {
		t.Errorf("a host that was slow: at %s, %d pings, %d connections", got, a.pings, a.open)
	}
	late()
	a.down = errors.New("no answer")
	if got := c.where(); got != "b" || a.pings != 2 || a.open > 3 {
		t.Errorf("a host that hangs: at %s, %d pings, %d connections", got, a.pings, a.open)
	}
	for range 5 {
		if got := c.where(); got != "b" || a.pings != 2 {
			t.Errorf("later: at %s, %d pings", got, a.pings)
		}
	}
}

// TestCommitIsNotRepeated: a commit whose connection broke may have been done,
// one that was refused was not.
func TestCommitIsNotRepeated(t *testing.T) {
	for _, test := range []struct {
		err    error
		repeat bool
	}{
		{mysql.ErrInvalidConn, false}, {driver.ErrBadConn, false}, {&mysql.MySQLError{Number: 1047}, false},
		{&mysql.MySQLError{Number: 1213}, true}, {&mysql.MySQLError{Number: 1205}, true},
	} {
		c := newCluster(t)
		tries := 0
		err := c.db.tx(t.Context(), func(*sqlx.Tx) error {
			for _, n := range c.nodes {
				n.fails = nil
			}
			if tries++; tries == 1 {
				c.nodes[0].fails = test.err
			}
			return nil
		})
		if (err == nil) != test.repeat || (tries == 2) != test.repeat || !test.repeat && !errors.Is(err, test.err) {
			t.Errorf("%v: %d tries, %v", test.err, tries, err)
		}
	}
}

// TestConnectCalledAway: a caller who goes away is no fault of the host's.
func TestConnectCalledAway(t *testing.T) {
	c := newCluster(t)
	ctx, cancel := context.WithCancel(t.Context())
	c.nodes[0].down = fmt.Errorf("dial: %w", context.Canceled)
	cancel()
	if _, err := c.hosts.Connect(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	c.nodes[0].down = nil
	if got := c.where(); got != "a" {
		t.Errorf("at %s", got)
	}
}
