package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ussdd/store"
	"ussdd/store/storetest"
	"ussdd/vendors/purchase"
)

// TestGaleraNodeLost has two instances sell to the same subscribers, each at
// another node of a cluster, and kills the node that the first one writes at in
// the middle, or stops it so that it only does not answer. All purchases go on
// and come to an end, each is delivered once or its money is back, and the books
// are right. Only those that were under way then may fail: their attempt was
// recorded, nobody knew that, and it was not sent.
func TestGaleraNodeLost(t *testing.T) {
	nodes := os.Getenv("USSDD_TEST_GALERA")
	if nodes == "" {
		t.Skip("needs a Galera cluster: scripts/galera go test -run Galera ./cmd/ussdd, or make galera")
	}
	t.Run("killed", func(t *testing.T) { loseNode(t, nodes, syscall.SIGKILL) })
	t.Run("hung", func(t *testing.T) { loseNode(t, nodes, syscall.SIGSTOP) })
}

func loseNode(t *testing.T, nodes string, how syscall.Signal) {
	const subscribers, each, amount = 40, 12, 100_00
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	name := storetest.MySQL(t)
	var log lockedBuffer
	open := func(name string) *store.DB {
		db, err := store.Open(ctx, name, store.Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	}
	db := open(name)
	if _, err := db.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	payer := func(i int) string { return fmt.Sprintf("234803%07d", i) }
	for i := range subscribers {
		if _, _, err := db.Credit(ctx, store.Operation{Operator: "ngozi", Reason: "funds"}, payer(i), each*amount, "test", payer(i)); err != nil {
			t.Fatal(err)
		}
	}
	s := &shop{delivered: make(map[string]int)}
	desks := []*purchase.Desk{s.openDesk(t, db), s.openDesk(t, open(secondFirst(name)))}

	var done atomic.Int64
	failed := make([]atomic.Int64, subscribers)
	signalled := make(chan struct{})
	lose := sync.OnceFunc(func() {
		defer close(signalled)
		signalNode(t, nodes, 1, how)
	})
	var buyers sync.WaitGroup
	for i := range subscribers {
		for d, desk := range desks {
			buyers.Go(func() {
				for n := range each / len(desks) {
					order := purchase.Order{Key: fmt.Sprint(i, d, n), Session: 1, MSISDN: payer(i), Recipient: payer(i), Network: "mtn", Amount: amount, Again: true}
					p, err := desk.Buy(ctx, order)
					for errors.Is(err, purchase.ErrUnknown) && ctx.Err() == nil {
						p, err = desk.Buy(ctx, order) // as a subscriber does who saw an error
					}
					for err == nil && p.State == purchase.Pending {
						p, err = desk.Check(ctx, p.MSISDN, p.Ref)
					}
					switch {
					case err == nil && p.State == purchase.Failed:
						failed[i].Add(1)
					case err != nil || p.State != purchase.Delivered:
						t.Errorf("purchase %s: %s, %v", order.Key, p.State, err)
					}
					if done.Add(1) == subscribers*each/3 {
						lose()
					}
				}
			})
		}
	}
	buyers.Wait()
	<-signalled

	report, err := db.CheckLedger(ctx)
	if err != nil || len(report.Violations) > 0 || report.Sum != 0 || report.Purchases != subscribers*each {
		t.Errorf("%d purchases, sum %d, violations %v, %v", report.Purchases, report.Sum, report.Violations, err)
	}
	var back int
	for i := range subscribers {
		n := failed[i].Load()
		if w, err := db.Wallet(ctx, payer(i)); err != nil || w.Balance != n*amount || w.Held != 0 {
			t.Errorf("wallet %+v after %d failures, %v", w, n, err)
		}
		back += int(n)
	}
	if len(s.delivered) != subscribers*each-back || back > subscribers*len(desks) {
		t.Errorf("%d references delivered and %d purchases failed of %d", len(s.delivered), back, subscribers*each)
	}
	for reference, n := range s.delivered {
		if n != 1 {
			t.Errorf("%s delivered %d times", reference, n)
		}
	}
	text := log.String()
	if n := strings.Count(text, "database host in use"); n < 3 { // one each, and where the first went then
		t.Errorf("%d hosts were used", n)
	}
	t.Logf("%d purchases failed; %d transactions retried, %d of them after a conflict of the nodes", back, strings.Count(text, "transaction retried"), strings.Count(text, "Error 1213"))
}

// secondFirst names the same database with the first two hosts swapped.
func secondFirst(name string) string {
	before, hosts, _ := strings.Cut(name, "@tcp(")
	hosts, after, _ := strings.Cut(hosts, ")")
	list := strings.Split(hosts, ",")
	list[0], list[1] = list[1], list[0]
	return before + "@tcp(" + strings.Join(list, ",") + ")" + after
}

// signalNode signals a node of scripts/galera, and starts it afresh when the test
// has ended.
func signalNode(t *testing.T, nodes string, n int, how syscall.Signal) {
	text, err := os.ReadFile(filepath.Join(nodes, fmt.Sprint("pid", n)))
	if err != nil {
		t.Error(err)
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err == nil {
		err = syscall.Kill(pid, how)
	}
	if err != nil {
		t.Error(err)
		return
	}
	t.Cleanup(func() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Error(err)
		}
		if out, err := exec.Command(filepath.Join(nodes, "start"), strconv.Itoa(n)).CombinedOutput(); err != nil {
			t.Errorf("node %d does not come back: %v: %s", n, err, out)
		}
	})
}

// lockedBuffer is a log that several write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
