// Package storetest gives tests an empty database on a real server.
package storetest

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Server is the DSN of the MariaDB or MySQL server, or the cluster, that
// USSDD_TEST_MYSQL names. Without it the test is skipped.
func Server(t testing.TB) string {
	t.Helper()
	dsn := os.Getenv("USSDD_TEST_MYSQL")
	if dsn == "" {
		t.Skip("set USSDD_TEST_MYSQL to a DSN whose user may create databases, or run scripts/with-mariadb go test …")
	}
	return dsn
}

// MySQL makes an empty database on Server, drops it when the test ends, and
// returns its name for store.Open.
//
// The database's character set is Latin-1 on purpose: the store's tables must
// not depend on a database's default.
func MySQL(t testing.TB) string {
	t.Helper()
	dsn := Server(t)
	server, err := sql.Open("mysql", FirstHost(dsn))
	if err != nil {
		t.Fatal("USSDD_TEST_MYSQL is not a DSN") // err could show its password
	}
	name := "ussdd_test_" + strings.ToLower(rand.Text())
	if _, err := server.Exec("CREATE DATABASE " + name + " CHARACTER SET latin1"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := drop(server, name); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	before, after, _ := strings.Cut(dsn, ")/")
	return "mysql:" + before + ")/" + name + after
}

// drop removes a database. MariaDB takes a dropped table's file away behind
// the statement, so that its directory may not be empty yet when DROP DATABASE
// comes to it (error 1010); such a drop is said again until it is done.
func drop(server *sql.DB, name string) error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	enough := time.After(time.Minute)
	for {
		_, err := server.Exec("DROP DATABASE " + name)
		var refused *mysql.MySQLError
		if !errors.As(err, &refused) || refused.Number != 1010 { // ER_DB_DROP_RMDIR
			return err
		}
		select {
		case <-again.C:
		case <-enough:
			return err
		}
	}
}

// FirstHost is a DSN for the first host of one that may name several, as the
// store takes it and the driver does not.
func FirstHost(dsn string) string {
	first, others, _ := strings.Cut(dsn, ",")
	if _, after, several := strings.Cut(others, ")/"); several {
		return first + ")/" + after
	}
	return dsn
}
