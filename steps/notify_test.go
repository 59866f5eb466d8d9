package steps

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tideover/tideover/cutover"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/journal/journaltest"
	"github.com/tideover/tideover/plan"
)

// told plays a run with a notifier and returns how it ended and what the notifier complained of.
func told(t *testing.T, specs []plan.Notify, steps []Step) (warned []string, err error) {
	t.Helper()
	var mu sync.Mutex
	n := newNotifier("test", specs, func(text string) { mu.Lock(); defer mu.Unlock(); warned = append(warned, text) })
	n.pause = time.Millisecond
	n.begin(t.Context())
	p := begin(t, journaltest.NewMemory(), "", steps, func(c *Config) { c.Sinks = append(c.Sinks, n.sink) })
	err = p.Run(t.Context())
	n.close()
	n.sink(journal.Event{Kind: journal.RunCompleted}) // nobody is told any more
	return warned, err
}

func TestNotify(t *testing.T) {
	t.Parallel()
	const secret = "a word of more than sixteen bytes"
	var mu sync.Mutex
	var got []string
	var calls atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = cutover.CheckSignature(r, secret, body, time.Now(), time.Hour)
		}
		if err != nil {
			t.Error(err)
		}
		if calls.Add(1) == 1 { // the first is tried again
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		var told Told
		if err := json.Unmarshal(body, &told); err != nil || told.Run == "" || told.Name != "test" || told.Text == "" {
			t.Errorf("%v: %s", err, body)
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, told.Notify+" "+told.Step+told.Outcome)
	}))
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	file := filepath.Join(dir, "told")
	warned, err := told(t, []plan.Notify{
		{URL: srv.URL + "/hook?key=hidden-word", Secret: secret, Timeout: time.Minute, Retries: 2},
		{Command: []string{"sh", "-c", `echo "$TIDEOVER_NOTIFY" >> ` + file + `; cat > /dev/null`}, On: []string{"finished"}, Timeout: time.Minute},
	}, []Step{&fake{id: "gate"}, &fake{id: "two", run: func(context.Context, *Progress) error { return &RollbackError{errors.New("guardrail disk: full")} }}})
	if !errors.As(err, new(*RolledBackError)) || len(warned) > 0 {
		t.Errorf("%v, warned of %v", err, warned)
	}
	if want := "gate gate, guardrail two, rollback , finished aborted"; strings.Join(got, ", ") != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "finished\n" {
		t.Errorf("the command was told %q, %v", text, err)
	}
}

// Whoever can't be told stops nothing, and what is said of them does not have their address.
func TestNotifyOfNobody(t *testing.T) {
	t.Parallel()
	warned, err := told(t, []plan.Notify{
		{URL: "http://127.0.0.1:1/hidden-word", Timeout: time.Minute, Retries: 1},
		{Command: []string{"/nowhere/at/all"}, Timeout: time.Minute},
		{Command: []string{"sh", "-c", "exit 3"}, Timeout: time.Minute},
	}, []Step{&fake{id: "one"}})
	if err != nil || len(warned) != 3 {
		t.Errorf("%v, warned of %q", err, warned)
	}
	for _, text := range warned {
		if strings.Contains(text, "hidden-word") || !strings.Contains(text, "could not be told of finished") {
			t.Errorf("warned of %q", text)
		}
	}
}

// A hook that hangs holds nothing up but the end, and that only until its time is over.
func TestNotifyThatHangs(t *testing.T) {
	t.Parallel()
	n := newNotifier("test", []plan.Notify{{Command: []string{"sleep", "3600"}, Timeout: time.Hour}}, func(string) {})
	ctx, cancel := context.WithCancel(t.Context())
	n.begin(ctx)
	for i := range 2 * notices { // more than wait: none of them blocks
		n.sink(journal.Event{Seq: int64(i + 1), Kind: journal.RunCompleted})
	}
	cancel()
	n.close()
}
