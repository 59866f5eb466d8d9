package authserver

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/tideover/tideover/internal/authserver/schema"
)

// Migrate brings the database up to a generation's schema with the stock migrations, one transaction a file. Of several
// at once one works and the others wait. A schema that is newer already stays as it is, and is an error.
func Migrate(ctx context.Context, dsn, generation string) error {
	target, err := schema.Target(generation)
	if err != nil {
		return err
	}
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return errors.New("the DSN is no Postgres connection string")
	}
	db := stdlib.OpenDB(*config)
	defer db.Close()
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, schema.Files(), goose.WithSessionLocker(locker))
	if err != nil {
		return err
	}
	if _, err := provider.UpTo(ctx, target); err != nil {
		return fmt.Errorf("migrating database %q to generation %s: %w", config.Database, generation, err)
	}
	have, err := provider.GetDBVersion(ctx)
	if err != nil {
		return err
	}
	if have > target {
		return fmt.Errorf("database %q has schema version %d already, generation %s is %d", config.Database, have, generation, target)
	}
	return nil
}
