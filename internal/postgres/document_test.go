package postgres_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/journal/journaltest"
	"github.com/tideover/tideover/internal/postgres"
)

// A journal that an older tideover has made is read as it is, and gets what it lacks when its run is taken.
func TestOlderJournal(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	l, err := s.Journal.Create(t.Context(), journaltest.Started("a"), journaltest.Who(7),
		postgres.Document{Kind: postgres.RunbookDocument, Name: "a.yaml", Text: "version: 1"})
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
	if d, ok, err := s.Document(t.Context(), l.Run(), postgres.RunbookDocument); err != nil || !ok || d.Text != "version: 1" || d.Name != "a.yaml" {
		t.Errorf("document %+v, %t, %v", d, ok, err)
	}
	if _, err := s.db.Pool().Exec(t.Context(), `DROP TABLE tideover.document, tideover.progress, tideover.command;
		ALTER TABLE tideover.approval DROP COLUMN host, DROP COLUMN reason; INSERT INTO tideover.approval (run, step, who) SELECT id, 'two', 'ann' FROM tideover.run`,
		pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Document(t.Context(), l.Run(), postgres.RunbookDocument); err != nil || ok {
		t.Errorf("a document that nobody kept: %t, %v", ok, err)
	}
	if p, err := s.Progress(t.Context(), l.Run()); err != nil || p != nil {
		t.Errorf("progress %v, %v", p, err)
	}
	if by, err := s.Approved(t.Context(), l.Run(), "two"); err != nil || by != "ann" {
		t.Errorf("approved by %q, %v", by, err)
	}
	if runs, err := s.Runs(t.Context()); err != nil || len(runs) != 1 {
		t.Errorf("runs %v, %v", runs, err)
	}
	taken, err := s.Journal.Take(t.Context(), l.Run(), journaltest.Who(8))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Release()
	if err := s.Approve(t.Context(), l.Run(), "one", "ben", "ops2", "for tonight"); err != nil {
		t.Fatal(err)
	}
	if a, err := s.Approval(t.Context(), l.Run(), "one"); err != nil || a.By != "ben" || a.Host != "ops2" || a.Reason != "for tonight" {
		t.Errorf("approval %+v, %v", a, err)
	}
}

func TestFirstWordsHaveNoValue(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		"":                                 "",
		"UPDATE public.token SET id = 'x'": "UPDATE public.token SET id",
		`DELETE FROM "Odd".token WHERE id='secret'`: `DELETE FROM "Odd".token WHERE`,
		"INSERT INTO token VALUES (E'a b')":         "INSERT INTO token",
		"SELECT 'a b c'":                            "SELECT",
		"SET app.token TO word":                     "SET app.token",
		"/* word */ SELECT 1":                       "",
		"SELECT $$a$$, b":                           "SELECT",
		"a b c d e f g":                             "a b c d e",
	} {
		if got := postgres.FirstWords(sql); got != want {
			t.Errorf("%q: got %q, want %q", sql, got, want)
		}
	}
}
