package steps

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// UnsoundError lists what an upgrade in place has left half done in blue.
type UnsoundError struct{ Objects []string }

func (e *UnsoundError) Error() string {
	return fmt.Sprintf("%d objects of blue are not sound: %s", len(e.Objects), strings.Join(e.Objects, ", "))
}

// Hint says what to do.
func (*UnsoundError) Hint() string {
	return "an index that is not valid: REINDEX INDEX CONCURRENTLY, or DROP INDEX CONCURRENTLY if nothing needs it; a constraint: ALTER TABLE … VALIDATE CONSTRAINT"
}

// validateInPlace looks whether blue is whole after it was migrated while it served: the profile's questions compare two
// sides, of which there is one.
func (s *validateStep) validateInPlace(ctx context.Context, p *Progress) error {
	const unsound = `SELECT 'index ' || i.indexrelid::pg_catalog.regclass::text || ' is not valid' FROM pg_catalog.pg_index i
			JOIN pg_catalog.pg_class c ON c.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname = $1 AND NOT i.indisvalid
		UNION ALL SELECT 'constraint ' || k.conname || ' of ' || k.conrelid::pg_catalog.regclass::text || ' is not validated' FROM pg_catalog.pg_constraint k
			JOIN pg_catalog.pg_namespace n ON n.oid = k.connamespace WHERE n.nspname = $1 AND NOT k.convalidated
		ORDER BY 1`
	rows, err := s.env.Blue.Pool().Query(ctx, unsound, s.env.Profile.Schema)
	if err != nil {
		return fmt.Errorf("blue: %w", err)
	}
	objects, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("blue: %w", err)
	}
	if len(objects) > 0 {
		return &UnsoundError{Objects: objects}
	}
	return p.Note(ctx, "info", "every index of blue is valid, and every constraint holds for all rows")
}
