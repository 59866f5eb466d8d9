package telemetry

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// DatabaseSample is pg_stat_database of one database (Postgres manual, "The Cumulative Statistics System"). The
// statistics of a session are flushed at most once a second, so a sample can lag that far behind.
type DatabaseSample struct {
	RowsUpdated, RowsInserted, TempBytes, Commits int64
}

const databaseSQL = `SELECT tup_updated, tup_inserted, temp_bytes, xact_commit FROM pg_catalog.pg_stat_database WHERE datname = pg_catalog.current_database()`

// SampleDatabase reads the counters of the pool's database.
func SampleDatabase(ctx context.Context, pool *pgxpool.Pool) (DatabaseSample, error) {
	var s DatabaseSample
	if err := pool.QueryRow(ctx, databaseSQL).Scan(&s.RowsUpdated, &s.RowsInserted, &s.TempBytes, &s.Commits); err != nil {
		return s, fmt.Errorf("database statistics: %w", err)
	}
	return s, nil
}

// Since returns s less an earlier sample.
func (s DatabaseSample) Since(earlier DatabaseSample) DatabaseSample {
	return DatabaseSample{
		RowsUpdated:  s.RowsUpdated - earlier.RowsUpdated,
		RowsInserted: s.RowsInserted - earlier.RowsInserted,
		TempBytes:    s.TempBytes - earlier.TempBytes,
		Commits:      s.Commits - earlier.Commits,
	}
}
