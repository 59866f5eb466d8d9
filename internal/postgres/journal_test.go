package postgres_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/journal/journaltest"
	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/postgres"
)

// store lets the conformance suite have a Journal.
type store struct {
	*postgres.Journal
	db *postgres.DB
}

func newStore(t testing.TB) store {
	db := open(t, pgtest.NewDatabase(t))
	return store{Journal: postgres.NewJournal(db), db: db}
}

func (s store) Create(ctx context.Context, started journal.RunStartedData, who journal.Holder) (journaltest.Lease, error) {
	l, err := s.Journal.Create(ctx, started, who)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (s store) Take(ctx context.Context, run string, who journal.Holder) (journaltest.Lease, error) {
	l, err := s.Journal.Take(ctx, run, who)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Kill terminates the backend that has the lease's lock.
func (s store) Kill(t testing.TB, l journaltest.Lease) {
	t.Helper()
	const sql = `SELECT pg_catalog.pg_terminate_backend(backend, 10000) FROM tideover.run WHERE id = $1`
	var ended bool
	if err := s.db.Pool().QueryRow(t.Context(), sql, l.Run()).Scan(&ended); err != nil || !ended {
		t.Fatalf("terminate the lease's backend: %t, %v", ended, err)
	}
}

func TestJournal(t *testing.T) {
	t.Parallel()
	journaltest.Test(t, func(t testing.TB) journaltest.Store { return newStore(t) })
}

func TestRunsAndHolder(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	if runs, err := s.Runs(t.Context()); err != nil || len(runs) != 0 {
		t.Fatalf("a database without a journal has %v, %v", runs, err)
	}
	if there, err := s.db.Pool().Exec(t.Context(), `SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'tideover'`); err != nil || there.RowsAffected() != 0 {
		t.Fatalf("reading has created something: %v, %v", there, err)
	}
	if _, err := s.Active(t.Context(), "a"); !errors.Is(err, postgres.ErrNoRun) {
		t.Errorf("got %v, want ErrNoRun", err)
	}
	l, err := s.Journal.Create(t.Context(), journaltest.Started("a"), journaltest.Who(7))
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Active(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if r.ID != l.Run() || !r.Held || !r.Active() || r.Holder.PID != 7 || r.Seq != 2 || r.Runbook != "a.yaml" || r.Hash != "0123" {
		t.Errorf("held run: %+v", r)
	}
	l.Release()
	if r, err = s.Find(t.Context(), l.Run()); err != nil || r.Held {
		t.Errorf("released run: held %t, %v", r.Held, err)
	}
	_, err = s.Journal.Create(t.Context(), journaltest.Started("a"), journaltest.Who(8))
	var active *postgres.ActiveError
	if !errors.As(err, &active) || active.Run.ID != l.Run() || !strings.Contains(active.Hint(), "tideover resume a.yaml") {
		t.Errorf("got %v, want an ActiveError of %s", err, l.Run())
	}
	if l, err = s.Journal.Take(t.Context(), l.Run(), journaltest.Who(9)); err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	for _, e := range []journal.Event{{Kind: journal.RunUndoing, Data: []byte(`{}`)}, {Kind: journal.RunAborted}} {
		if _, err := l.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	r, err = s.Latest(t.Context(), "a")
	if err != nil || r.Active() || r.Held || r.Outcome != journal.RunAborted || r.Ended.Before(r.Created) {
		t.Errorf("ended run: %+v, %v", r, err)
	}
	if _, err := s.Journal.Take(t.Context(), "nonsense", journaltest.Who(1)); !errors.Is(err, postgres.ErrNoRun) {
		t.Errorf("got %v, want ErrNoRun", err)
	}
}

// Two processes of two different runbooks are kept apart too: one at a time works in a control database.
func TestInstallTwiceAtOnce(t *testing.T) {
	t.Parallel()
	for range 3 {
		s := newStore(t)
		errs := make([]error, 8)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = s.Install(t.Context()) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
	}
}

func TestAppendTxSharesTheFateOfItsTransaction(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	l, err := s.Journal.Create(t.Context(), journaltest.Started("a"), journaltest.Who(1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if !l.Covers(s.db) || l.Covers(open(t, pgtest.NewDatabase(t))) {
		t.Error("Covers mistakes the database")
	}
	if _, err := s.db.Pool().Exec(t.Context(), `CREATE TABLE public.effect (a text)`); err != nil {
		t.Fatal(err)
	}
	rollback := errors.New("roll back")
	for _, fate := range []error{rollback, nil} {
		err := pgx.BeginFunc(t.Context(), s.db.Pool(), func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), `INSERT INTO public.effect VALUES ('x')`); err != nil {
				return err
			}
			if _, err := l.AppendTx(t.Context(), tx, journaltest.Note("with its effect")); err != nil {
				return err
			}
			return fate
		})
		if !errors.Is(err, fate) {
			t.Fatal(err)
		}
		var effects int
		if err := s.db.Pool().QueryRow(t.Context(), `SELECT count(*) FROM public.effect`).Scan(&effects); err != nil {
			t.Fatal(err)
		}
		events, err := s.Load(t.Context(), l.Run(), 2)
		if err != nil || len(events) != effects {
			t.Errorf("%d effects, %d events, %v", effects, len(events), err)
		}
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	l, err := s.Journal.Create(t.Context(), journaltest.Started("a"), journaltest.Who(1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	next := []journal.Event{journaltest.Note("x"), {Kind: journal.RunUndoing, Data: []byte(`{}`)}, {Kind: journal.RunAborted}}
	var got []journal.Kind
	err = s.Follow(t.Context(), l.Run(), 1, 5*time.Millisecond, func(e journal.Event) error {
		got = append(got, e.Kind)
		if len(next) > 0 { // each is appended once the one before it was seen
			if _, err := l.Append(t.Context(), next[0]); err != nil {
				return err
			}
			next = next[1:]
		}
		return nil
	})
	want := []journal.Kind{journal.RunTaken, journal.StepNote, journal.RunUndoing, journal.RunAborted}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Follow(ctx, "none", 0, time.Millisecond, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after a cancel: %v", err)
	}
}

func TestApprove(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	l, err := s.Journal.Create(t.Context(), journaltest.Started("a"), journaltest.Who(1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	for _, tt := range []struct{ by, want string }{{"", ""}, {"ann", "ann"}, {"bob", "ann"}} {
		if tt.by != "" {
			if err := s.Approve(t.Context(), l.Run(), "two", tt.by, "ops1", "why not"); err != nil {
				t.Fatal(err)
			}
		}
		if by, err := s.Approved(t.Context(), l.Run(), "two"); err != nil || by != tt.want {
			t.Errorf("approved by %q, %v; want %q", by, err, tt.want)
		}
	}
	if by, err := s.Approved(t.Context(), l.Run(), "one"); err != nil || by != "" {
		t.Errorf("another step was approved by %q, %v", by, err)
	}
	if err := s.Approve(t.Context(), "nonsense", "two", "ann", "", ""); !errors.Is(err, postgres.ErrNoRun) {
		t.Errorf("got %v, want ErrNoRun", err)
	}
}

func TestApproveRows(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	l, err := s.Journal.Create(t.Context(), journaltest.Started("a"), journaltest.Who(1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	for _, a := range []struct {
		rule string
		rows int64
	}{{"one", 12}, {"one", 7}, {"two:three", 3}} {
		if err := s.ApproveRows(t.Context(), l.Run(), a.rule, a.rows, "ann"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Approve(t.Context(), l.Run(), "a-step", "ann", "", ""); err != nil {
		t.Fatal(err)
	}
	got, err := s.ApprovedRows(t.Context(), l.Run())
	if diff := cmp.Diff(map[string]int64{"one": 12, "two:three": 3}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

// A server that crashes takes the lease along, and keeps what it has confirmed.
func TestServerCrash(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	server := pgtest.NewServer(t, pgserver.Options{Name: "crash", Source: pgserver.Local, Fsync: true})
	j := postgres.NewJournal(open(t, server.DSN()))
	l, err := j.Create(t.Context(), journaltest.Started("a"), journaltest.Who(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), journaltest.Note("confirmed")); err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-l.Context().Done():
	case <-time.After(30 * time.Second):
		t.Fatal("the lease has survived its server")
	}
	if cause := context.Cause(l.Context()); !errors.Is(cause, journal.ErrLeaseLost) {
		t.Errorf("the cause is %v", cause)
	}
	if _, err := l.Append(t.Context(), journaltest.Note("into the void")); err == nil || errors.Is(err, journal.ErrFenced) {
		t.Errorf("append without a server: %v", err)
	}
	l.Release()
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	next, err := j.Take(t.Context(), l.Run(), journaltest.Who(2))
	if err != nil {
		t.Fatal(err)
	}
	defer next.Release()
	events, err := j.Load(t.Context(), l.Run(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if state, err := journal.Fold(events); err != nil || len(state.Notes) != 1 || state.Term != 2 {
		t.Errorf("after the crash: %+v, %v", state, err)
	}
}

func TestMissingPrivilege(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	admin := open(t, dsn)
	role := "weak_" + admin.Pool().Config().ConnConfig.Database[5:]
	if _, err := admin.Pool().Exec(t.Context(), `CREATE ROLE `+role+` LOGIN PASSWORD 's3cr@t-pässword'`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = admin.Pool().Exec(context.Background(), `DROP ROLE `+role) })
	weak := open(t, edit(t, dsn, func(u *url.URL) { u.User = url.UserPassword(role, "s3cr@t-pässword") }))
	_, err := postgres.NewJournal(weak).Create(t.Context(), journaltest.Started("a"), journaltest.Who(1))
	var e *postgres.JournalError
	if !errors.As(err, &e) || postgres.Code(err) != "42501" || !strings.Contains(e.Hint(), "GRANT CREATE ON DATABASE") {
		t.Fatalf("got %v (hint %q)", err, e.Hint())
	}
	leaks(t, err.Error()+e.Hint()+weak.String())

	readonly := open(t, edit(t, dsn, func(u *url.URL) { u.RawQuery += "&default_transaction_read_only=on" }))
	_, err = postgres.NewJournal(readonly).Create(t.Context(), journaltest.Started("a"), journaltest.Who(1))
	if !errors.As(err, &e) || postgres.Code(err) != "25006" || !strings.Contains(e.Hint(), "primary") {
		t.Errorf("got %v", err)
	}
}

// A foreign schema of our name must be left alone, and said to be one.
func TestForeignSchema(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	const sql = `CREATE SCHEMA tideover; CREATE TABLE tideover.run (a int); CREATE TABLE tideover.approval (a int)`
	if _, err := s.db.Pool().Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	_, err := s.Runs(t.Context())
	var e *postgres.JournalError
	if !errors.As(err, &e) || !strings.Contains(e.Hint(), "right database") {
		t.Errorf("got %v", err)
	}
}

// A journal lives in a database of any encoding: what its events say is stored in ASCII, and read as it was.
func TestJournalInAnyEncoding(t *testing.T) {
	t.Parallel()
	for _, encoding := range quick.First(t, 1, []string{"LATIN1", "SQL_ASCII", "EUC_JP"}) {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			admin := pgtest.NewDatabase(t)
			name := "journal_" + strings.ToLower(encoding+rand.Text()[:8])
			pgtest.Exec(t, admin, `CREATE DATABASE `+name+` TEMPLATE template0 ENCODING '`+encoding+`' LC_COLLATE 'C' LC_CTYPE 'C'`)
			t.Cleanup(func() { pgtest.Exec(t, admin, `DROP DATABASE `+name+` WITH (FORCE)`) })
			dsn, err := postgres.WithDatabase(admin, name)
			if err != nil {
				t.Fatal(err)
			}
			j := postgres.NewJournal(open(t, dsn))
			l, err := j.Create(t.Context(), journaltest.Started("a"), journaltest.Who(1))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Release()
			const text = "„ß“ … 日本 \U0001F600 \u2028"
			said, err := l.Append(t.Context(), journaltest.Note(text))
			if err != nil {
				t.Fatal(err)
			}
			events, err := j.Load(t.Context(), l.Run(), said.Seq-1)
			if err != nil || len(events) != 1 {
				t.Fatalf("%d events, %v", len(events), err)
			}
			var note journal.NoteData
			if err := json.Unmarshal(events[0].Data, &note); err != nil || note.Text != text {
				t.Errorf("%q, %v", note.Text, err)
			}
		})
	}
}
