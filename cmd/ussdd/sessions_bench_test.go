package main

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ussdd/menus"
	"ussdd/session"
	"ussdd/smpp"
	"ussdd/store"
	"ussdd/store/storetest"
)

// journey is what one subscriber of the benchmark does: it begins, and ends at
// the last answer.
var journey = []string{"*999#", "1", "1", "1", "2", "0", "2", "2"}

// silence is a handset that reads nothing.
type silence struct{}

func (silence) Reply(string, bool, time.Time) error { return nil }

// nowhere stores nothing.
type nowhere struct{}

func (nowhere) Save(context.Context, []session.Record, []session.Step) error { return nil }
func (nowhere) Load(context.Context, session.Key) (session.Record, error) {
	return session.Record{}, session.ErrNotFound
}
func (nowhere) Expire(context.Context, time.Time, time.Time, int) (int, error)  { return 0, nil }
func (nowhere) Open(context.Context, []string) error                            { return nil }
func (nowhere) Balance(context.Context, string) (int64, error)                  { return 0, nil }
func (nowhere) History(context.Context, string, int) ([]session.Receipt, error) { return nil, nil }

// BenchmarkSteps is the cost of one step in the session engine with the real
// menu, and with what is written behind it, all on one core: ns/op is the time
// until the last step is taken, cpu-ns/op all processor time until the last
// session and step is stored.
func BenchmarkSteps(b *testing.B) {
	for _, where := range []string{"nowhere", "sqlite", "mysql"} {
		for _, log := range []string{"sessions", "steps"} {
			for _, dialogues := range []int{64, 1_000, 20_000} {
				b.Run(fmt.Sprintf("%s/%s/%d", where, log, dialogues), func(b *testing.B) { benchmarkSteps(b, where, log == "steps", dialogues) })
			}
		}
	}
}

func benchmarkSteps(b *testing.B, where string, stepLog bool, dialogues int) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	ctx := b.Context()
	var kept session.Store = nowhere{}
	var money session.Wallet = nowhere{}
	if where != "nowhere" {
		db := openBenchmark(b, freshDatabase(b, where))
		kept, money = sessions{db}, wallets{db: db}
	}
	medium := menus.Medium(benchmarkScreen)
	engine := newBenchmarkEngine(b, session.Config{NewID: store.NewID, MaxSessions: 2 * dialogues, MaxPending: b.N + 1, NoStepLog: !stepLog}, kept, money)
	ctx, stop := context.WithCancel(ctx)
	ran := make(chan error)
	go func() { ran <- engine.Run(ctx) }()

	msisdns, ids := make([]string, dialogues), make([]string, 1<<16)
	for i := range msisdns {
		msisdns[i] = "23481" + fmt.Sprintf("%08d", i)
	}
	for i := range ids {
		ids[i] = strconv.FormatUint(uint64(i), 16)
	}
	step, round := make([]int, dialogues), make([]int, dialogues)
	b.ReportAllocs()
	busy := cpuTime(b)
	b.ResetTimer()
	for n := range b.N {
		i := n % dialogues
		ev := session.Event{Kind: session.Input, Key: session.Key{SMSC: "sim", MSISDN: msisdns[i], ID: ids[(i+round[i])%len(ids)]},
			Code: "*999#", Text: journey[step[i]], Medium: medium, Replier: silence{}}
		if step[i] == 0 {
			ev.Kind = session.Begin
		}
		engine.Handle(ev)
		if n%64 == 0 {
			runtime.Gosched() // as a link does when it waits for more
		}
		if step[i]++; step[i] == len(journey) {
			step[i] = 0
			round[i]++
		}
	}
	b.StopTimer()
	if err := engine.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	busy = cpuTime(b) - busy
	stop()
	if err := <-ran; err != nil {
		b.Fatal(err)
	}
	s := engine.Stats()
	if s.Steps != int64(b.N) || s.DroppedRecords+s.DroppedSteps > 0 {
		b.Fatalf("%d steps: %+v", b.N, s)
	}
	b.ReportMetric(float64(busy.Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// cpuTime is what this process has used so far.
func cpuTime(b *testing.B) time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// BenchmarkIdleSessions is the memory of a session that waits for its
// subscriber, after one step and after four, without the link's event.
func BenchmarkIdleSessions(b *testing.B) {
	for _, steps := range []int{1, 4} {
		b.Run(fmt.Sprint(steps), func(b *testing.B) {
			const n = 200_000
			engine := newBenchmarkEngine(b, session.Config{NewID: store.NewID, MaxSessions: n, NoStepLog: true}, nowhere{}, nowhere{})
			medium := menus.Medium(benchmarkScreen)
			for range b.N {
				before := heap()
				for i := range n {
					key := session.Key{SMSC: "sim", MSISDN: "23481" + fmt.Sprintf("%08d", i), ID: fmt.Sprintf("%08x", i)}
					for step, text := range journey[:steps] {
						ev := session.Event{Kind: session.Input, Key: key, Code: "*999#", Text: text, Medium: medium, Replier: silence{}}
						if step == 0 {
							ev.Kind = session.Begin
						}
						engine.Handle(ev)
					}
				}
				if err := engine.Flush(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(heap()-before)/n, "B/session")
				at := time.Now().Add(50 * time.Second) // not yet idle for too long
				engine.Sweep(at)
				busy := cpuTime(b)
				engine.Sweep(at.Add(time.Second))
				b.ReportMetric(float64((cpuTime(b) - busy).Microseconds()), "cpu-µs/sweep")
			}
			runtime.KeepAlive(engine)
		})
	}
}

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

var benchmarkScreen = smpp.Text{Alphabet: smpp.GSM, Max: 160}

func newBenchmarkEngine(b *testing.B, cfg session.Config, kept session.Store, money session.Wallet) *session.Engine {
	b.Helper()
	loaded, err := menus.Load(menus.Builtin(), menus.Options{Actions: session.Actions(), Medium: benchmarkScreen})
	if err != nil {
		b.Fatal(err)
	}
	current := new(atomic.Pointer[data])
	current.Store(&data{menus: loaded})
	return session.New(cfg, &services{data: current}, nil, money, kept)
}

// freshDatabase names an empty database.
func freshDatabase(b *testing.B, engine string) string {
	if engine == "mysql" {
		return storetest.MySQL(b)
	}
	return "sqlite:" + filepath.Join(b.TempDir(), "ussdd.db")
}

// openBenchmark opens an empty database and makes its schema.
func openBenchmark(b *testing.B, name string) *store.DB {
	b.Helper()
	db, err := store.Open(b.Context(), name, store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	if _, err := db.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	return db
}
