package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/deployment"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/look"
	"github.com/tideover/tideover/plan"
)

// statusKills are the events at which TestStatusAgainstReality kills the run, each when it comes for the first time.
var statusKills = []string{
	"step.started preflight", "step.started token-lifetimes", "step.started capture", "step.started snapshot", "step.started cleanup", "step.started migrate", "step.started replay", "step.started validate",
	"cutover.preparing cutover", "cutover.holding cutover", "cutover.verifying cutover",
	"cutover.committing cutover", "cutover.released cutover", "step.started monitor", "step.started retire",
}

// TestStatusAgainstReality asks status who serves and what clients meet, at moments of a run that is killed again and again: as it dies,
// when what it left has ended by itself, while it goes on, and with servers and the router gone. Each time a client of the test's own
// tries the same through the router, before and after. Status is right in all of them; it may say "unknown" only where the router is
// gone, or where it was not told the addresses.
func TestStatusAgainstReality(t *testing.T) {
	slice.In(t, 1)
	th := newTheatre(t)
	shortHold(t, th.runbook)
	w := newWitness(t, th)
	left := map[string]bool{}
	for _, point := range statusKills {
		left[point] = true
	}
	ends := time.Time{} // what the last moment said would end by itself
	dying := ""
	at := func(e journal.Event) bool {
		point := killPoint(e)
		dying = ""
		switch {
		case left[point]:
			delete(left, point)
			dying = point
		case e.Kind == journal.StepStarted, e.Kind == journal.StepFinished:
			w.moment("at " + string(e.Kind) + " " + e.Step)
		}
		return dying != ""
	}
	for command, killed := "run", true; killed; command = "resume" {
		var code int
		var stderr string
		if code, killed, stderr = th.play(t, at, command, th.runbook, "--json"); !killed && code != 0 {
			t.Fatalf("exit code %d\n%s", code, stderr)
		}
		if !killed {
			break
		}
		said := w.moment("killed at " + dying)
		if said.Held {
			t.Errorf("killed at %s: status says that a process holds the run", dying)
		}
		if ends = said.Now.Until; !ends.IsZero() {
			time.Sleep(time.Until(ends) + 2*time.Second) // a fence stays up for a second longer than the hold
			if later := w.moment("killed at " + dying + ", and what it left is over"); later.Now.Clients == said.Now.Clients {
				t.Errorf("killed at %s: clients %q was to end at %v by itself, and has not", dying, said.Now.Clients, ends)
			}
		}
	}
	if len(left) > 0 {
		t.Logf("was not killed at %v: what came before it ended too late", left)
	}
	w.moment("completed")
	for _, gone := range []string{deployment.GreenServer, deployment.RouterName} {
		if err := th.Kill(gone); err != nil {
			t.Fatal(err)
		}
		w.routerless = gone == deployment.RouterName
		w.moment(gone + " killed")
	}
	if err := th.Restart(t.Context(), deployment.RouterName); err != nil {
		t.Fatal(err)
	}
	w.routerless = false
	w.moment("router restarted")
	t.Logf("%d moments, %d of them with something unknown", w.moments, w.unknown)
	if w.moments < 40 {
		t.Errorf("only %d moments were compared, want 40", w.moments)
	}
}

// witness is a client of the router that finds out by itself what status says.
type witness struct {
	t          *testing.T
	th         *theatre
	client     *http.Client
	routerless bool // the router is gone: nobody can tell
	moments    int
	unknown    int
}

const (
	witnessName   = "witness"
	witnessSecret = "secret-of-the-witness-0417"
)

// patience is after what time a request that has no answer waits in a hold: a write that a fence refuses is tried again for 5s.
const patience = 7 * time.Second

// shortHold makes a runbook's hold shorter, since it is waited for.
func shortHold(t *testing.T, runbook string) {
	t.Helper()
	data, err := os.ReadFile(runbook)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(runbook, bytes.Replace(data, []byte("deadline: 20s"), []byte("deadline: 10s"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newWitness(t *testing.T, th *theatre) *witness {
	t.Helper()
	w := &witness{t: t, th: th, client: &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	body := fmt.Sprintf(`{"client_id":%q,"client_secret":%q,"grant_types":["client_credentials","authorization_code"],"response_types":["code"],
		"redirect_uris":["http://127.0.0.1/back"],"scope":"openid","token_endpoint_auth_method":"client_secret_basic"}`, witnessName, witnessSecret)
	resp, err := http.Post(th.BlueServer.Admin+"/clients", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		text, _ := io.ReadAll(resp.Body)
		t.Fatalf("the witness's client: %s\n%s", resp.Status, text)
	}
	return w
}

// seen is what the witness met.
type seen struct {
	serves  plan.Side // "": can't be told
	clients string    // as in look.Now
}

// said is what is compared of status.
type said struct {
	Held bool
	Now  look.Now
}

// moment compares status with what the witness meets before and after it. Where the two differ, something has changed meanwhile, and
// it is asked again.
func (w *witness) moment(name string) said {
	w.t.Helper()
	told := map[string]string{"TIDEOVER_CONTROL_DSN": w.th.Environment()["TIDEOVER_BLUE_DSN"]}
	for range 20 {
		first := make(chan seen, 1)
		go func() { first <- w.look() }()
		waits := false // who is answered at once has been answered before status is asked; who waits, waits while it is asked
		select {
		case before := <-first:
			first <- before
		case <-time.After(patience / 20):
			waits = true
		}
		full := w.ask(w.th.Environment(), "status", "--json", w.th.runbook)
		short := w.ask(told, "status", "--json")
		after, before := w.look(), <-first
		if before != after || waits && before.clients == look.Served {
			continue
		}
		w.moments++
		if full.Now.Serves != before.serves || full.Now.Clients != before.clients {
			w.t.Errorf("%s: status says that %q serves and clients are %q; in truth %q serves and they are %q\n%s", name,
				full.Now.Serves, full.Now.Clients, before.serves, before.clients, full.Now.Text)
		}
		if full.Now.Clients == look.Unknown {
			w.unknown++
		}
		if s := short.Now.Serves; s != "" && s != before.serves {
			w.t.Errorf("%s: told the control database alone, status says that %q serves; it is %q", name, s, before.serves)
		}
		if c := short.Now.Clients; c != look.Unknown && c != before.clients {
			w.t.Errorf("%s: told the control database alone, status says that clients are %q; they are %q", name, c, before.clients)
		}
		return full
	}
	w.t.Errorf("%s: what clients meet changed twenty times while it was looked at", name)
	return said{}
}

func (w *witness) ask(env map[string]string, args ...string) (s said) {
	w.t.Helper()
	o := tideover(w.t.Context(), w.t, env, args...)
	if err := json.Unmarshal(o.stdout, &s); err != nil {
		w.t.Errorf("%v: exit code %d, %v\n%s%s", args, o.code, err, o.stdout, o.stderr)
	}
	return s
}

// look tries what clients do: a token, the beginning of a login, and who answers.
func (w *witness) look() seen {
	if w.routerless {
		return seen{clients: look.Unknown}
	}
	s := seen{serves: w.serving()}
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"openid"}}
	var token, login string
	var both sync.WaitGroup
	both.Go(func() { token = w.meets(http.MethodPost, "/oauth2/token", form) })
	both.Go(func() {
		login = w.meets(http.MethodGet, "/oauth2/auth?"+url.Values{"response_type": {"code"}, "client_id": {witnessName}, "scope": {"openid"},
			"redirect_uri": {"http://127.0.0.1/back"}, "state": {"0123456789"}}.Encode(), nil)
	})
	both.Wait()
	switch {
	case token == look.Served && login == look.Wait:
		s.clients = look.Wait // a drain: who begins to log in waits
	default:
		s.clients = token
	}
	return s
}

// serving asks the side's version through the router's admin listener. A side whose server is gone is told by the other's silence.
func (w *witness) serving() plan.Side {
	resp, err := w.client.Get(w.th.Router.Admin + "/version")
	if err != nil {
		w.t.Errorf("the router's admin listener: %v", err)
		return ""
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	switch {
	case resp.StatusCode == http.StatusBadGateway:
		return plan.Green // blue's server is never killed here
	case strings.Contains(string(text), `"1.1`):
		return plan.Blue
	case strings.Contains(string(text), `"2.0`):
		return plan.Green
	}
	w.t.Errorf("the router's admin listener: %s\n%s", resp.Status, text)
	return ""
}

// meets is what becomes of a request.
func (w *witness) meets(method, path string, form url.Values) string {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, w.th.Router.Public+path, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth(witnessName, witnessSecret)
	}
	resp, err := w.client.Do(req)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return look.Wait
	case err != nil:
		return err.Error()
	}
	resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK, http.StatusFound, http.StatusSeeOther:
		return look.Served
	case http.StatusServiceUnavailable:
		return look.Refused
	case http.StatusBadGateway:
		return look.Failing
	}
	return resp.Status
}
