package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

type sessionRow struct {
	Session
	StartedMS int64 `db:"started_at"`
	LastMS    int64 `db:"last_at"`
	EndedMS   int64 `db:"ended_at"`
}

func (r sessionRow) session() Session {
	r.Session.StartedAt, r.Session.LastAt, r.Session.EndedAt = instant(r.StartedMS), instant(r.LastMS), instant(r.EndedMS)
	return r.Session
}

type stepRow struct {
	Step
	AtMS int64 `db:"at"`
}

func (r stepRow) step() Step {
	r.Step.At = instant(r.AtMS)
	return r.Step
}

// Widths of the columns that hold what came over the network.
const (
	wName     = 64 // smsc, code, service, version, screen, reason
	wDialogue = 128
	wMSISDN   = 20
	wInput    = 255
)

// Columns of sessions in the order of their arguments. The first group never
// changes.
var (
	sessionFixed    = []string{"id", "smsc", "msisdn", "code", "started_at"}
	sessionChanging = []string{"dialogue", "service", "version", "screen", "state", "last_at", "reason"}
	sessionOrder    = []string{"ended_at", "steps"}
	sessionColumns  = slices.Concat(sessionFixed, sessionChanging, sessionOrder)
	selectSession   = "SELECT " + strings.Join(sessionColumns, ", ") + " FROM sessions"

	stepColumns = []string{"session_id", "n", "at", "screen", "input", "shown", "took_micros"}
)

// SaveSessions writes sessions and steps. Writing the same again, or an older
// record of a session (one with fewer Steps, or with as many and not ended) after
// a newer one, changes nothing; nor does a step that is there. Nor does a session
// whose ID is there with another MSISDN, SMSC or StartedAt: it is lost, but for
// its steps.
//
// Nobody waits for these rows. On SQLite, which works in this process and has one
// writer, they are written in small transactions with pauses between, and are
// safe from a power cut only with the next change of money; on MySQL they are one
// transaction. After an error some may have been written.
func (db *DB) SaveSessions(ctx context.Context, sessions []Session, steps []Step) error {
	sessionRows := rows{
		table: "sessions", columns: sessionColumns, onConflict: db.engine.keepNewer(sessionChanging), n: len(sessions),
		append: func(args []any, i int) []any {
			s := &sessions[i]
			state := s.State
			if state == nil {
				state = []byte{}
			}
			return append(args, s.ID, clip(s.SMSC, wName), clip(s.MSISDN, wMSISDN), clip(s.Code, wName), millis(s.StartedAt),
				clip(s.Dialogue, wDialogue), clip(s.Service, wName), clip(s.Version, wName), clip(s.Screen, wName), state, millis(s.LastAt),
				clip(s.Reason, wName), millis(s.EndedAt), s.Steps)
		},
	}
	if db.engine.keepNewerInPlace != nil {
		sessionRows.first = db.engine.keepNewerInPlace()
	}
	if err := db.engine.behind(db, ctx, sessionRows); err != nil {
		return fmt.Errorf("save %d sessions: %w", len(sessions), err)
	}
	stepRows := rows{
		table: "steps", columns: stepColumns, onConflict: db.engine.keepOld("n"), n: len(steps),
		append: func(args []any, i int) []any {
			s := &steps[i]
			return append(args, s.Session, s.N, millis(s.At), clip(s.Screen, wName), clip(s.Input, wInput), clip(s.Shown, wName), s.TookMicros)
		},
	}
	if err := db.engine.behind(db, ctx, stepRows); err != nil {
		return fmt.Errorf("save %d steps: %w", len(steps), err)
	}
	return nil
}

// FindSession is the newest session of that dialogue that has not ended, or
// ErrNotFound. An empty msisdn stands for every subscriber.
func (db *DB) FindSession(ctx context.Context, smsc, msisdn, dialogue string) (Session, error) {
	// A subscriber has few sessions, but very many open ones may have one
	// dialogue: "", where the SMSC has no ids. The sum keeps the engines from the
	// index of the open ones.
	query, args := " WHERE msisdn = ? AND smsc = ? AND dialogue = ? AND ended_at + 0 = 0", []any{clip(msisdn, wMSISDN)}
	if msisdn == "" {
		query, args = " WHERE ended_at = 0 AND smsc = ? AND dialogue = ?", nil
	}
	args = append(args, clip(smsc, wName), clip(dialogue, wDialogue))
	var row sessionRow
	if err := db.r.GetContext(ctx, &row, selectSession+query+" ORDER BY id DESC LIMIT 1", args...); err != nil {
		return Session{}, fmt.Errorf("session of %s on %s: %w", mask(msisdn), smsc, notFound(err))
	}
	return row.session(), nil
}

// EndSessions ends, at the given time, sessions of which nothing has been heard
// since before, at most limit of them, and tells how many.
func (db *DB) EndSessions(ctx context.Context, before, at time.Time, reason string, limit int) (n int, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("end sessions: %w", err)
		}
	}()
	var ids []any
	if err := db.r.SelectContext(ctx, &ids, "SELECT id FROM sessions WHERE ended_at = 0 AND last_at < ? LIMIT ?", millis(before), limit); err != nil || len(ids) == 0 {
		return 0, err
	}
	args := append([]any{millis(at), clip(reason, wName), []byte{}, millis(before)}, ids...)
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		ended, err := affected(tx.ExecContext(ctx, "UPDATE sessions SET ended_at = ?, reason = ?, state = ?"+
			" WHERE ended_at = 0 AND last_at < ? AND id IN "+tuples(1, len(ids)), args...))
		n = int(ended)
		return err
	})
	return n, err
}

// ListSessions lists the sessions that f chooses, newest first.
func (db *DB) ListSessions(ctx context.Context, f SessionFilter) ([]Session, error) {
	var w where
	w.add(f.MSISDN != "", "msisdn = ?", f.MSISDN)
	w.add(f.Live, "ended_at = 0")
	w.add(!f.Since.IsZero(), "started_at >= ?", millis(f.Since))
	w.add(f.Before != 0, "id < ?", f.Before)
	var rows []sessionRow
	if err := db.r.SelectContext(ctx, &rows, selectSession+w.String()+" ORDER BY id DESC LIMIT ?", append(w.args, limit(f.Limit))...); err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	sessions := make([]Session, len(rows))
	for i, r := range rows {
		sessions[i] = r.session()
	}
	return sessions, nil
}

// Session is the session with that id and its steps in order, or ErrNotFound.
func (db *DB) Session(ctx context.Context, id int64) (s Session, steps []Step, err error) {
	err = db.snapshot(ctx, func(tx *sqlx.Tx) error {
		var row sessionRow
		if err := tx.GetContext(ctx, &row, selectSession+" WHERE id = ?", id); err != nil {
			return notFound(err)
		}
		s, steps = row.session(), nil
		var rows []stepRow
		err := tx.SelectContext(ctx, &rows, "SELECT "+strings.Join(stepColumns, ", ")+" FROM steps WHERE session_id = ? ORDER BY n", id)
		for _, r := range rows {
			steps = append(steps, r.step())
		}
		return err
	})
	if err != nil {
		return Session{}, nil, fmt.Errorf("session %d: %w", id, err)
	}
	return s, steps, nil
}
