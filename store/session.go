package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

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
	sessionFixed    = []string{"id", "smsc", "msisdn", "dialogue", "code", "started_at"}
	sessionChanging = []string{"service", "version", "screen", "state", "last_at", "reason"}
	sessionOrder    = []string{"ended_at", "steps"}
	sessionColumns  = slices.Concat(sessionFixed, sessionChanging, sessionOrder)
	selectSession   = "SELECT " + strings.Join(sessionColumns, ", ") + " FROM sessions"

	stepColumns = []string{"session_id", "n", "at", "screen", "input", "shown", "took_micros"}
)

// batchRows is how many rows one INSERT has at most, well below the
// placeholders either engine takes.
const batchRows = 200

// SaveSessions writes sessions and steps in one transaction. Writing the same
// again, or an older record of a session (one with fewer Steps, or with as many
// and not ended) after a newer one, changes nothing; nor does a step that is
// there. Nor does a session whose ID is there with another MSISDN, SMSC or
// Dialogue: it is lost, but for its steps.
func (db *DB) SaveSessions(ctx context.Context, sessions []Session, steps []Step) error {
	if len(sessions)+len(steps) == 0 {
		return nil
	}
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		for batch := range slices.Chunk(sessions, batchRows) {
			args := make([]any, 0, len(batch)*len(sessionColumns))
			for _, s := range batch {
				state := s.State
				if state == nil {
					state = []byte{}
				}
				args = append(args, s.ID, clip(s.SMSC, wName), clip(s.MSISDN, wMSISDN), clip(s.Dialogue, wDialogue), clip(s.Code, wName), millis(s.StartedAt),
					clip(s.Service, wName), clip(s.Version, wName), clip(s.Screen, wName), state, millis(s.LastAt), clip(s.Reason, wName),
					millis(s.EndedAt), s.Steps)
			}
			if err := insert(ctx, tx, "sessions", sessionColumns, args, db.engine.keepNewer(sessionChanging)); err != nil {
				return fmt.Errorf("sessions: %w", err)
			}
		}
		for batch := range slices.Chunk(steps, batchRows) {
			args := make([]any, 0, len(batch)*len(stepColumns))
			for _, s := range batch {
				args = append(args, s.Session, s.N, millis(s.At), clip(s.Screen, wName), clip(s.Input, wInput), clip(s.Shown, wName), s.TookMicros)
			}
			if err := insert(ctx, tx, "steps", stepColumns, args, db.engine.keepOld("n")); err != nil {
				return fmt.Errorf("steps: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("save %d sessions, %d steps: %w", len(sessions), len(steps), err)
	}
	return nil
}

// insert writes rows in one statement.
func insert(ctx context.Context, tx *sqlx.Tx, table string, columns []string, args []any, onConflict string) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO "+table+" ("+strings.Join(columns, ", ")+") VALUES "+
		tuples(len(args)/len(columns), len(columns))+onConflict, args...)
	return err
}

// FindSession is the newest session of that dialogue that has not ended, or
// ErrNotFound.
func (db *DB) FindSession(ctx context.Context, smsc, msisdn, dialogue string) (Session, error) {
	var row sessionRow
	err := db.r.GetContext(ctx, &row, selectSession+" WHERE msisdn = ? AND smsc = ? AND dialogue = ? AND ended_at = 0 ORDER BY id DESC LIMIT 1",
		clip(msisdn, wMSISDN), clip(smsc, wName), clip(dialogue, wDialogue))
	if err != nil {
		return Session{}, fmt.Errorf("session of %s on %s: %w", mask(msisdn), smsc, notFound(err))
	}
	return row.session(), nil
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
		s = row.session()
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
