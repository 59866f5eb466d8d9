package steps

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/replay"
)

// A green server on another database, on an earlier copy or with another secret is ready, and does not know what green's database has.
func TestGreenAnswers(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	state := `{"side":"blue","phase":"open"}`
	known, nobody, keys := http.StatusOK, http.StatusNotFound, http.StatusOK
	var theirs *pgx.Conn
	var look func(ctx context.Context, w http.ResponseWriter, id string) error
	s := guarded(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/admin/clients/nobody"):
			w.WriteHeader(nobody)
		case r.URL.Path == "/admin/clients/going":
			if _, err := theirs.Exec(r.Context(), `DELETE FROM public.client WHERE id = 'going'`); err != nil {
				t.Error(err)
			}
			w.WriteHeader(http.StatusNotFound)
		case strings.HasPrefix(r.URL.Path, "/admin/clients/a%b"), r.URL.Path == "/admin/clients/c":
			w.WriteHeader(known)
		case r.URL.Path == "/keys":
			w.WriteHeader(keys)
		case strings.HasPrefix(r.URL.Path, "/admin/planted/"):
			if err := look(r.Context(), w, strings.TrimPrefix(r.URL.Path, "/admin/planted/")); err != nil {
				t.Error(err)
			}
		case r.URL.Path == "/admin/oauth2/introspect":
		default:
			w.WriteHeader(http.StatusTeapot)
		}
	}, &state)
	if _, err := s.env.Green.Pool().Exec(t.Context(), `CREATE TABLE public.client (id text); INSERT INTO public.client VALUES ('a%b'), ('c')`, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	s.env.Profile.HTTP.Plant, s.env.Profile.HTTP.Uproot = nil, nil
	s.env.Profile.HTTP.Answers = []plan.Answer{
		{Listener: "admin", Path: "/clients/{}", SQL: "SELECT id FROM client ORDER BY id", Status: 200},
		{Listener: "admin", Path: "/clients/nobody", Status: 404},
		{Listener: "public", Path: "/keys", Status: 200},
	}
	if err := s.greenAnswers(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "no session in green's database") {
		t.Errorf("without a session of the server: %v", err)
	}
	var err error
	if theirs, err = pgx.Connect(t.Context(), s.env.Green.DSN()); err != nil {
		t.Fatal(err)
	}
	defer theirs.Close(t.Context())
	if err := s.greenAnswers(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.Exec(t.Context(), `INSERT INTO public.client VALUES ('going')`); err != nil {
		t.Fatal(err)
	}
	if err := s.greenAnswers(t.Context(), nil); err != nil {
		t.Errorf("a client that goes while it is asked for: %v", err)
	}
	for name, wrong := range map[string]struct {
		status *int
		to     int
	}{"a client is not known": {&known, 404}, "everybody is known": {&nobody, 200}, "the keys can't be read": {&keys, 500}} {
		was := *wrong.status
		*wrong.status = wrong.to
		if err := s.greenAnswers(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "does not know what green's database has") {
			t.Errorf("%s: %v", name, err)
		}
		*wrong.status = was
	}

	// A server on a copy of green's database, with somebody else's session in green's.
	s.env.replayOnce.Do(func() {
		s.env.replayer, s.env.replayErr = replay.NewReplayer(replay.Config{Blue: s.env.Blue, Green: s.env.Green, Profile: s.env.Profile, Migrator: migrate.NewGoose(nil, 0), Rules: s.env.rules(true)})
	})
	h := &s.env.Profile.HTTP
	h.Plant = []string{"INSERT INTO client VALUES (CAST(:word AS text))"}
	h.Uproot = []string{"DELETE FROM client WHERE id LIKE 'tideover-%'"}
	h.Answers = append(h.Answers, plan.Answer{Listener: "admin", Path: "/planted/{word}", Status: 200, Has: "is {word}"})
	look = func(ctx context.Context, w http.ResponseWriter, id string) error {
		var there bool
		err := theirs.QueryRow(ctx, `SELECT EXISTS (SELECT FROM public.client WHERE id = $1)`, id).Scan(&there)
		if !there {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte("it is " + id))
		return err
	}
	if err := s.greenAnswers(t.Context(), nil); err != nil {
		t.Error(err)
	}
	for name, answer := range map[string]struct {
		status int
		body   string
	}{"404 Not Found": {404, ""}, "without": {200, "it is another"}} {
		look = func(_ context.Context, w http.ResponseWriter, _ string) error {
			w.WriteHeader(answer.status)
			_, err := w.Write([]byte(answer.body))
			return err
		}
		if err := s.greenAnswers(t.Context(), nil); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "GET http") {
			t.Errorf("%s: %v", name, err)
		}
	}
	var left int
	if err := theirs.QueryRow(t.Context(), `SELECT count(*) FROM public.client`).Scan(&left); err != nil || left != 2 {
		t.Errorf("%d clients are left of 2 (%v)", left, err)
	}
}
