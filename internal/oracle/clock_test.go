package oracle_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/oracle"
	"github.com/tideover/tideover/plan"
)

// TestClock: the run began at 10:00; expected was migrated between 12:00 and 12:01.
func TestClock(t *testing.T) {
	t.Parallel()
	at := func(text string) time.Time {
		when, err := time.Parse(time.DateTime, "2024-05-05 "+text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	clock := oracle.Clock{Since: at("10:00:00"), Began: at("12:00:00"), Ended: at("12:01:00")}
	for _, tc := range quick.First(t, 3, []struct {
		name, typ, want, have string
		differs               bool
	}{
		{"made on either side", "timestamptz", "2024-05-05 12:00:30Z", "2024-05-05 10:20:00Z", false},
		{"made on either side, in seconds of their own", "timestamptz", "2024-05-05 12:00:59.5Z", "2024-05-05 11:59:59.25Z", false},
		{"a client wrote it during the run", "timestamptz", "2024-05-05 11:30:00Z", "2024-05-05 10:20:00Z", true},
		{"green kept an old one", "timestamptz", "2024-05-05 12:00:30Z", "2024-05-05 09:59:00Z", true},
		{"green has none", "timestamptz", "2024-05-05 12:00:30Z", "", true},
		{"the migrations make none", "timestamptz", "", "2024-05-05 12:00:30Z", true},
		{"for ever", "timestamptz", "infinity", "2024-05-05 12:00:30Z", true},
		{"local, east", "timestamp", "2024-05-05 17:30:30", "2024-05-05 15:50:00", false},
		{"local, west", "timestamp", "2024-05-05 04:00:10", "2024-05-05 02:20:00", false},
		{"local, of another minute", "timestamp", "2024-05-05 11:40:00", "2024-05-05 10:20:00", true},
		{"a day", "date", "2024-05-05", "2024-05-04", false},
		{"a day of old", "date", "2024-05-02", "2024-05-04", true},
		{"a day that is long ago on green", "date", "2024-05-05", "2024-05-02", true},
		{"the same", "timestamp", "1999-05-05", "1999-05-05", false},
	}) {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			left, right := connect(t, pgtest.NewDatabase(t)), connect(t, pgtest.NewDatabase(t))
			for conn, value := range map[*pgx.Conn]string{left: tc.want, right: tc.have} {
				if _, err := conn.Exec(t.Context(), `CREATE TABLE public.t (id int PRIMARY KEY, v text, touched `+tc.typ+`)`); err != nil {
					t.Fatal(err)
				}
				if _, err := conn.Exec(t.Context(), `INSERT INTO public.t VALUES (1, 'same', CAST(NULLIF($1::text, '') AS `+tc.typ+`))`, value); err != nil {
					t.Fatal(err)
				}
			}
			for _, other := range []bool{false, true} { // beside another column that differs
				if other {
					if _, err := right.Exec(t.Context(), `UPDATE public.t SET v = 'other'`); err != nil {
						t.Fatal(err)
					}
				}
				var columns []string
				if tc.differs {
					columns = append(columns, "touched")
				}
				if other {
					columns = append(columns, "v")
				}
				var want []oracle.Difference
				if len(columns) > 0 {
					want = []oracle.Difference{{Table: "t", Key: `["1"]`, Kind: oracle.Differs, Columns: columns}}
				}
				c, err := oracle.Compare(t.Context(), left, right, &plan.Profile{Schema: "public"}, clock)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, c.Differences); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}
