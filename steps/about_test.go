package steps

import (
	"context"
	"testing"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/journal/journaltest"
	"github.com/tideover/tideover/internal/migrate"
)

// TestNoticesAreCounted: of what a migration tells, machines learn what is a wait and what is a retry, by no word of its text.
func TestNoticesAreCounted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		notice migrate.Notice
		about  string
	}{
		{"a wait", migrate.Notice{Warn: true, Waits: true, Text: "x"}, journal.AboutWait},
		{"a retry", migrate.Notice{Warn: true, Again: true, Text: "x"}, journal.AboutRetry},
		{"a warning", migrate.Notice{Warn: true, Text: "waits, and is tried again"}, ""},
		{"a word", migrate.Notice{Text: "x"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := begin(t, journaltest.NewMemory(), "", []Step{&fake{id: "a", run: func(ctx context.Context, p *Progress) error {
				(&migrateStep{}).tell(ctx, p)(tt.notice)
				return nil
			}}}, nil)
			if err := p.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			notes := 0
			for _, e := range *p.shown {
				if e.Kind != journal.StepNote {
					continue
				}
				notes++
				if d := said[journal.NoteData](e); d.About != tt.about || d.Text != tt.notice.Text {
					t.Errorf("%+v, want about %q", d, tt.about)
				}
			}
			if notes != 1 {
				t.Errorf("%d notes, want 1", notes)
			}
		})
	}
}
