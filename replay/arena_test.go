package replay

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/authserver/schema"
	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/oracle"
	"github.com/tideover/tideover/internal/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// useMemory lets the test servers keep their files in memory, where there is room: what a history costs is creating
// databases, and a busy disk makes that ten times dearer. TMPDIR of the caller wins.
func useMemory() {
	const dir, room = "/dev/shm", 8 << 30
	var s syscall.Statfs_t
	if os.Getenv("TMPDIR") == "" && syscall.Statfs(dir, &s) == nil && s.Bavail*uint64(s.Bsize) > room {
		os.Setenv("TMPDIR", dir)
	}
}

// arena is where histories are played one after the other: a blue that is emptied in between, and whose sessions stay.
// Each history gets a green of its own.
type arena struct {
	admin, blue *postgres.DB
	profile     *plan.Profile
	fence       *Fence
	sessions    []*pgx.Conn // of the server; not ours
	n           int
}

// newArena makes an arena that ends with the test.
func newArena(t testing.TB) *arena {
	t.Helper()
	dsn := database11(t)
	a := &arena{admin: open(t, "admin", pgtest.Shared(t).DSN()), blue: open(t, "blue", dsn), profile: bundled(t)}
	if err := NewCapture(a.blue, a.profile, Blue).Install(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	a.fence = NewFence(a.blue, "")
	if err := a.fence.Install(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		conn := stranger(t, a.blue)
		// One goroutine plays all sessions: who waits for another's lock would wait for ever.
		if _, err := conn.Exec(t.Context(), `SET lock_timeout = '4ms'`); err != nil {
			t.Fatal(err)
		}
		a.sessions = append(a.sessions, conn)
	}
	return a
}

// clear makes blue as if capture and fence had been installed on an empty database.
func (a *arena) clear(ctx context.Context) {
	for _, s := range a.sessions {
		if s.PgConn().TxStatus() != 'I' {
			_, err := s.Exec(ctx, `ROLLBACK`)
			must(err)
		}
	}
	_, err := a.blue.Pool().Exec(ctx, `
TRUNCATE oauth_client, oauth_client_details, oauth_session, oauth_login_request, oauth_login_handled, oauth_consent_request,
	oauth_consent_handled, oauth_code, oauth_access, oauth_refresh, oauth_jwk, tideover.change RESTART IDENTITY;
UPDATE tideover.capture SET epoch = gen_random_uuid(), applied = 0;
SELECT setval('tideover.fence', 0)`, pgx.QueryExecModeSimpleProtocol)
	must(err)
}

// create makes an empty database of 1.1 on the arena's server.
func (a *arena) create(ctx context.Context, name string) (db *postgres.DB, drop func()) {
	a.n++
	unique := fmt.Sprintf("%s_%s_%d", name, a.blueName(), a.n)
	_, err := a.admin.Pool().Exec(ctx, "CREATE DATABASE "+unique+" TEMPLATE "+template11Name)
	must(err)
	dsn, err := postgres.WithDatabase(a.admin.DSN(), unique)
	must(err)
	db, err = postgres.Open(ctx, name, dsn)
	must(err)
	return db, func() {
		db.Close()
		_, err := a.admin.Pool().Exec(context.WithoutCancel(ctx), "DROP DATABASE "+unique+" WITH (FORCE)")
		must(err)
	}
}

func (a *arena) blueName() string { return a.blue.Pool().Config().ConnConfig.Database }

// bulk copies blue as it is now into a database of 1.1 and migrates it at one go.
func (a *arena) bulk(ctx context.Context, into *postgres.DB, m Migrator) {
	from, err := a.blue.Pool().Acquire(ctx)
	must(err)
	defer from.Release()
	must(pgx.BeginTxFunc(ctx, from.Conn(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(pgx.Tx) error {
		return a.fill(ctx, from.Conn(), into, m)
	}))
}

func (a *arena) fill(ctx context.Context, from *pgx.Conn, into *postgres.DB, m Migrator) error {
	to, err := into.Pool().Acquire(ctx)
	if err != nil {
		return err
	}
	defer to.Release()
	if _, err := to.Exec(ctx, `SET session_replication_role = replica`); err != nil {
		return err
	}
	for _, table := range a.profile.Tables {
		name := pgx.Identifier{"public", table.Name}.Sanitize()
		if _, err := pipe(ctx, from, "SELECT * FROM "+name, to.Conn(), name); err != nil {
			return err
		}
	}
	if _, err := to.Exec(ctx, `RESET session_replication_role`); err != nil {
		return err
	}
	rules := cleanup.New(a.profile.Rules, cleanup.Options{})
	if _, err := rules.Apply(ctx, to.Conn(), "before"); err != nil {
		return err
	}
	if err := m.Migrate(ctx, into.DSN()); err != nil {
		return err
	}
	_, err = rules.Apply(ctx, to.Conn(), "after")
	return err
}

// judge migrates blue's state offline and holds green against it.
func (a *arena) judge(ctx context.Context, green *postgres.DB, m Migrator) oracle.Comparison {
	expected, drop := a.create(ctx, "expected")
	defer drop()
	a.bulk(ctx, expected, m)
	want, err := expected.Pool().Acquire(ctx)
	must(err)
	defer want.Release()
	have, err := green.Connect(ctx)
	must(err)
	defer hangUp(ctx, have)
	c, err := oracle.Compare(ctx, want.Conn(), have, a.profile)
	must(err)
	return c
}

// plain runs the bundled migrations from 1.1 to 2.0 on one connection, as they stand in their files: what goose does,
// in half the time.
type plain struct{ files []string }

var readMigrations = sync.OnceValues(func() (plain, error) {
	var p plain
	names, err := fs.Glob(schema.Files(), "2*.sql")
	slices.Sort(names)
	for _, name := range names {
		text, e := fs.ReadFile(schema.Files(), path.Base(name))
		if e != nil {
			return p, e
		}
		up, _, _ := strings.Cut(string(text), "-- +goose Down")
		p.files = append(p.files, up)
	}
	return p, err
})

func (p plain) Migrate(ctx context.Context, dsn string) error {
	conn, err := postgres.Connect(ctx, "migrate", dsn)
	if err != nil {
		return err
	}
	defer hangUp(ctx, conn)
	for _, sql := range p.files {
		if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
	}
	return nil
}

// trouble is an error of the machinery around a history. It is no finding.
type trouble struct{ error }

// must ends a history that the machinery fails.
func must(err error) {
	if err != nil {
		panic(trouble{err})
	}
}
