package router

import (
	"net/http"
	"testing"
	"time"

	"github.com/tideover/tideover/plan"
)

func TestHealthOfListeners(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	control := "http://" + b.router.Addresses().Control + "/health"
	want := func(when string, public, admin int) {
		t.Helper()
		for path, status := range map[string]int{"": 200, "/public": public, "/admin": admin, "/control": 404, "/public/x": 404} {
			if a := do(t.Context(), "GET", control+path, ""); a.status != status {
				t.Errorf("%s: %s: %d %s, want %d", when, path, a.status, a.body, status)
			}
		}
	}
	sick := func(w http.ResponseWriter, _ *http.Request, s seen) {
		if s.Listener == "admin" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	want("all is well", 200, 200)
	b.green.answers(sick) // does not serve
	want("green is ill", 200, 200)
	b.blue.answers(sick)
	want("blue's admin is ill", 200, 503)
	b.hold(run1, 20*time.Second) // as a fence does it to a health check that writes
	want("in the hold", 200, 200)
	b.release(run1)
	b.green.answers(nil)
	b.move(run1, plan.Green)
	want("green serves", 200, 200)
	b.green.public.Close()
	want("green's public is gone", 503, 200)
	for _, s := range b.green.requests() {
		if s.URI != profile.Health { // on the admin listener without its prefix
			t.Errorf("green was asked for %s", s.URI)
		}
	}
	if st := b.router.State(); st.Requests != 0 {
		t.Errorf("health is counted as traffic: %+v", st)
	}
}
