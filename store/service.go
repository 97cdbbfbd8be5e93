package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"
)

type serviceRow struct {
	Service
	SeenMS int64 `db:"seen_at"`
}

// SaveService records that a version of a service was seen at s.SeenAt. The
// source of a version never changes; only the time of a known one does.
func (db *DB) SaveService(ctx context.Context, s Service) error {
	if err := errors.Join(validName("name", s.Name, wName), validName("version", s.Version, wName)); err != nil {
		return fmt.Errorf("save service: %w", err)
	}
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		n, err := affected(tx.ExecContext(ctx, "UPDATE services SET seen_at = ? WHERE name = ? AND version = ?", millis(s.SeenAt), s.Name, s.Version))
		if err != nil || n == 1 {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO services (name, version, codes, source, seen_at) VALUES (?, ?, ?, ?, ?)",
			s.Name, s.Version, clip(s.Codes, wInput), s.Source, millis(s.SeenAt))
		if db.engine.duplicate(err) {
			return errAgain
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("save service %s %s: %w", s.Name, s.Version, err)
	}
	return nil
}

// Service is that version of a service, or ErrNotFound.
func (db *DB) Service(ctx context.Context, name, version string) (Service, error) {
	var row serviceRow
	err := db.r.GetContext(ctx, &row, "SELECT name, version, codes, source, seen_at FROM services WHERE name = ? AND version = ?", name, version)
	if err != nil {
		return Service{}, fmt.Errorf("service %s %s: %w", name, version, notFound(err))
	}
	row.Service.SeenAt = instant(row.SeenMS)
	return row.Service, nil
}
