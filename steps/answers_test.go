package steps

import (
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/plan"
)

// A green server on another database, on an earlier copy or with another secret is ready, and does not know what green's database has.
func TestGreenAnswers(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	state := `{"side":"blue","phase":"open"}`
	known, nobody, keys := http.StatusOK, http.StatusNotFound, http.StatusOK
	s := guarded(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/admin/clients/nobody"):
			w.WriteHeader(nobody)
		case strings.HasPrefix(r.URL.Path, "/admin/clients/a%b"), r.URL.Path == "/admin/clients/c":
			w.WriteHeader(known)
		case r.URL.Path == "/keys":
			w.WriteHeader(keys)
		case r.URL.Path == "/admin/oauth2/introspect":
		default:
			w.WriteHeader(http.StatusTeapot)
		}
	}, &state)
	if _, err := s.env.Green.Pool().Exec(t.Context(), `CREATE TABLE public.client (id text); INSERT INTO public.client VALUES ('a%b'), ('c')`, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	s.env.Profile.HTTP.Answers = []plan.Answer{
		{Listener: "admin", Path: "/clients/{}", SQL: "SELECT id FROM client ORDER BY id", Status: 200},
		{Listener: "admin", Path: "/clients/nobody", Status: 404},
		{Listener: "public", Path: "/keys", Status: 200},
	}
	if err := s.greenAnswers(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "no session in green's database") {
		t.Errorf("without a session of the server: %v", err)
	}
	theirs, err := pgx.Connect(t.Context(), s.env.Green.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close(t.Context())
	if err := s.greenAnswers(t.Context(), nil); err != nil {
		t.Fatal(err)
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
}
