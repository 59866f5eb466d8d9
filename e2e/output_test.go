package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/slice"
)

// TestOutputThatNobodyTakes has whoever reads the events of a run stand still, go away, or have no room, as the cutover begins or from the
// first line on. The run comes to its end all the same, its hold is no longer for it, and the process ends.
func TestOutputThatNobodyTakes(t *testing.T) {
	for _, way := range slice.Pick(t, 0, []string{"stands at the cutover", "goes at the cutover", "has no room", "stands from the first line"}) {
		t.Run(way, func(t *testing.T) {
			th := newTheatre(t)
			c := command(t.Context(), th.Environment(), "run", th.runbook, "--json")
			var errs bytes.Buffer
			c.Stderr = &errs
			reader, writer, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			c.Stdout = writer
			if way == "has no room" {
				full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer full.Close()
				c.Stdout = full
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			writer.Close()
			if strings.HasSuffix(way, "at the cutover") {
				readUntil(t, reader, journal.CutoverPreparing)
			}
			if strings.HasPrefix(way, "goes") {
				reader.Close()
			}
			if err := c.Wait(); err != nil {
				t.Fatalf("%v\n%s", err, errs.String())
			}
			o := tideover(t.Context(), t, map[string]string{"TIDEOVER_CONTROL_DSN": th.Environment()["TIDEOVER_BLUE_DSN"]}, "runs", "--json")
			var run struct{ Run, Outcome string }
			if err := json.Unmarshal(o.stdout, &run); err != nil || run.Outcome != "completed" {
				t.Errorf("the run: %v\n%s%s", err, o.stdout, o.stderr)
			}
			if held := th.held(t); held <= 0 || held > 5*time.Second {
				t.Errorf("requests were held for %v", held)
			}
		})
	}
}

// readUntil reads events up to the first of a kind.
func readUntil(t *testing.T, reader *os.File, kind journal.Kind) {
	t.Helper()
	lines := bufio.NewReader(reader)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatalf("no event %s: %v", kind, err)
		}
		var e journal.Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("no event: %s", line)
		}
		if e.Kind == kind {
			return
		}
	}
}

// held is how long the journal says that the hold was.
func (th *theatre) held(t *testing.T) (held time.Duration) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), th.Environment()["TIDEOVER_BLUE_DSN"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	const sql = `SELECT max(time) FILTER (WHERE kind = $2) - max(time) FILTER (WHERE kind = $1) FROM tideover.event`
	if err := conn.QueryRow(t.Context(), sql, journal.CutoverHolding, journal.CutoverReleased).Scan(&held); err != nil {
		t.Fatal(err)
	}
	return held
}
