package cleanup_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/plan"
)

// TestFixChangesOnlyWhatIsNamed gives rules whose fix reaches too far, in few rows and in many.
func TestFixChangesOnlyWhatIsNamed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		fix   string
		stray int64 // of 3 healthy rows
	}{
		{"the same condition", `UPDATE public.thing SET v = 'mended' WHERE v = 'bad'`, 0},
		{"all rows", `UPDATE public.thing SET v = 'mended'`, 3},
		{"one too many", `UPDATE public.thing SET v = 'mended' WHERE v = 'bad' OR id = 1`, 1},
		{"to the value that it has", `UPDATE public.thing SET v = CASE v WHEN 'bad' THEN 'mended' ELSE v END`, 3},
		{"one too many, in a WITH", `WITH x AS (UPDATE public.thing SET v = 'mended' WHERE v = 'bad' OR id = 1 RETURNING id) SELECT count(*) FROM x`, 1},
		{"one too many, in a block that survives errors", `DO $$ BEGIN UPDATE public.thing SET v = 'mended' WHERE v = 'bad' OR id = 1; EXCEPTION WHEN others THEN NULL; END $$`, 1},
		{"a healthy one goes", `DELETE FROM public.thing WHERE v = 'bad' OR id = 1`, 1},
		{"one goes and another comes", `WITH gone AS (DELETE FROM public.thing WHERE v = 'bad' OR id = 1) INSERT INTO public.thing VALUES (-1, 'new')`, 1},
		{"new rows", `WITH gone AS (DELETE FROM public.thing WHERE v = 'bad') INSERT INTO public.thing SELECT -i, 'new' FROM generate_series(1, 9) i`, 0},
		{"a parent for them", `WITH p AS (INSERT INTO public.loose VALUES ('new', '')) UPDATE public.thing SET v = 'mended' WHERE v = 'bad'`, 0},
		{"another table's rows", `WITH p AS (UPDATE public.loose SET v = 'x') UPDATE public.thing SET v = 'mended' WHERE v = 'bad'`, 2},
		{"another table's rows go", `WITH p AS (DELETE FROM public.loose WHERE v IS NULL) UPDATE public.thing SET v = 'mended' WHERE v = 'bad'`, 1},
		{"a partition's row", `UPDATE public.thing SET v = 'mended' WHERE v = 'bad' OR id = 2`, 1},
	}
	for _, tt := range tests {
		for _, bad := range []int{1, 1500} {
			t.Run(fmt.Sprint(tt.name, " ", bad), func(t *testing.T) {
				t.Parallel()
				conn := setup(t)
				if _, err := conn.Exec(t.Context(), fmt.Sprintf(`CREATE TABLE public.thing (id int, v text) PARTITION BY LIST (id);
					CREATE TABLE public.thing_2 PARTITION OF public.thing FOR VALUES IN (2);
					CREATE TABLE public.thing_x PARTITION OF public.thing DEFAULT;
					INSERT INTO public.thing VALUES (1, 'good'), (2, 'good'), (3, NULL);
					INSERT INTO public.thing SELECT 10 + i, 'bad' FROM generate_series(1, %d) i`, bad)); err != nil {
					t.Fatal(err)
				}
				// What the session did before is another's.
				if _, err := conn.Exec(t.Context(), `UPDATE public.loose SET v = v`); err != nil {
					t.Fatal(err)
				}
				rule := plan.Rule{Name: "mend", Phase: "before", Table: "thing", Where: "t.v = 'bad'", Fix: []string{tt.fix}}
				results, err := cleanup.New([]plan.Rule{rule}, cleanup.Options{}).Apply(t.Context(), conn, "before")
				var stray *cleanup.StrayError
				if tt.stray == 0 {
					if err != nil || results[0].Rows != int64(bad) || results[0].Left != 0 {
						t.Errorf("%+v, %v", results, err)
					}
					return
				}
				if !errors.As(err, &stray) || stray.Rows != tt.stray {
					t.Errorf("got %v, want %d rows too many", err, tt.stray)
				}
				if n := count(t, conn, "public.thing WHERE v = 'bad'"); n != int64(bad) {
					t.Errorf("%d offending rows are left, want all %d: the rule is taken back", n, bad)
				}
			})
		}
	}
}
