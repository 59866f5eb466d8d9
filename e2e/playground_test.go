package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/playground"
	"github.com/tideover/tideover/internal/lab/slice"
)

// TestPlayground does what a person does at the playground: logs in to the app by the console, starts the upgrade, takes the app's
// access back while the hold is open, sees the token dead on green, rolls back, sees it dead on blue, and ends it all with Ctrl-C.
func TestPlayground(t *testing.T) {
	slice.In(t, 8)
	play := startPlayground(t)
	p, visitor := play.place, newVisitor(t)
	ann := p.Users[0]
	visitor.logIn(p, ann)
	if page := visitor.get(p.App + "/"); !page.says("Hello, "+ann.Name) || !page.says(">active<") {
		t.Fatalf("the app does not know who logged in, or their token is dead:\n%s", page)
	}
	if page := visitor.get(p.Console + "/access"); !page.says("Holiday photos") {
		t.Errorf("the console does not name the app that has access:\n%s", page)
	}

	visitor.refused(p.Playground+"/start", url.Values{"csrf": {"made up"}}, http.StatusForbidden)
	visitor.refused(p.Playground+"/rollback", visitor.form(p), http.StatusConflict)
	visitor.post(p.Playground+"/start", visitor.form(p))
	visitor.until(p.Playground, "Switch to green")
	revocation := url.Values{"csrf": {visitor.get(p.Console + "/access").value("csrf")}, "client": {p.Client}}
	visitor.post(p.Playground+"/switch", visitor.form(p))
	visitor.until(p.Playground, "The hold is open")
	answered := make(chan answer, 1)
	go func() { answered <- visitor.send(p.Console+"/access/revoke", revocation) }()
	visitor.until(p.Playground, "<dt>Requests that wait</dt><dd>1</dd>")
	select {
	case s := <-answered:
		t.Fatalf("the revocation was answered while the hold was open: %s", s)
	default:
	}
	if !visitor.get(p.App + "/").says(">active<") {
		t.Error("the token is dead while its revocation waits")
	}
	visitor.post(p.Playground+"/go-on", visitor.form(p))
	if s := <-answered; s.status != http.StatusOK || s.says("Holiday photos") {
		t.Errorf("the revocation that waited: %s", s)
	}
	on := visitor.until(p.Playground, "Roll back to blue")
	if !on.says("The green server serves") {
		t.Errorf("green does not serve:\n%s", on)
	}
	visitor.dead(p)

	last := visitor.form(p)
	visitor.post(p.Playground+"/rollback", last)
	if back := visitor.until(p.Playground, "Blue serves again"); !back.says("The blue server serves") || !back.says(": rolled_back") {
		t.Errorf("blue does not serve:\n%s", back)
	}
	visitor.dead(p)
	visitor.logIn(p, ann)
	if !visitor.get(p.App + "/").says(">active<") {
		t.Error("nobody can log in after the way back")
	}

	visitor.refused(p.Playground+"/start", last, http.StatusConflict) // green has served
	play.interrupt(t)
}

// TestPlaygroundBefore takes the upgrade back before the switch, starts it anew, and ends it all with Ctrl-C in the open hold.
func TestPlaygroundBefore(t *testing.T) {
	slice.In(t, 8)
	play := startPlayground(t)
	p, visitor := play.place, newVisitor(t)
	visitor.post(p.Playground+"/start", visitor.form(p))
	visitor.until(p.Playground, "Switch to green")
	visitor.post(p.Playground+"/rollback", visitor.form(p))
	visitor.until(p.Playground, "Start the upgrade")
	visitor.post(p.Playground+"/start", visitor.form(p))
	visitor.until(p.Playground, "Switch to green")
	visitor.post(p.Playground+"/switch", visitor.form(p))
	visitor.until(p.Playground, "The hold is open")
	play.interrupt(t)
}

// played is a playground that is up.
type played struct {
	place  playground.Place
	own    string // the directory in which it puts what it makes
	cmd    *exec.Cmd
	stdout *bufio.Reader
	ended  bool
}

// startPlayground starts the program and reads where everything is.
func startPlayground(t *testing.T) *played {
	t.Helper()
	own, err := os.MkdirTemp("", "tideover-played-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(own) })
	if err := os.Chmod(own, 0o777); err != nil { // as root Postgres' account must pass
		t.Fatal(err)
	}
	c := command(t.Context(), map[string]string{"TMPDIR": own}, "playground", "--json", "--for", "5m")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	play := &played{own: own, cmd: c, stdout: bufio.NewReader(out)}
	t.Cleanup(func() {
		if !play.ended {
			_ = c.Process.Signal(syscall.SIGINT) // so that what it has started ends, too
			_ = c.Wait()
		}
		if t.Failed() {
			t.Logf("the playground said\n%s", stderr.String())
		}
	})
	line, err := play.stdout.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &play.place)
	}
	if err != nil || len(play.place.Users) == 0 {
		t.Fatalf("the first line is %q: %v", line, err)
	}
	return play
}

// interrupt sends Ctrl-C, and wants a clean end with nothing left behind.
func (play *played) interrupt(t *testing.T) {
	t.Helper()
	if err := play.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(play.stdout)
	play.ended = true
	if waited := play.cmd.Wait(); waited != nil || err != nil || len(rest) > 0 {
		t.Errorf("after Ctrl-C: %v, %v, and stdout goes on with %q", waited, err, rest)
	}
	if left, err := os.ReadDir(play.own); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	if left := processesOf(t, play.own); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
}

// processesOf lists the living processes that a directory is told to, by their environment or command line.
func processesOf(t *testing.T, directory string) (found []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(all) == 0 {
		t.Fatalf("no processes can be seen: %v", err)
	}
	for _, path := range all {
		line, err := os.ReadFile(filepath.Join(path, "cmdline"))
		env, err2 := os.ReadFile(filepath.Join(path, "environ"))
		if err == nil && len(line) > 0 && (bytes.Contains(line, []byte(directory)) || err2 == nil && bytes.Contains(env, []byte(directory))) {
			found = append(found, string(bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
		}
	}
	return found
}

// visitor is a person's browser: it follows redirects and keeps cookies.
type visitor struct {
	t      *testing.T
	client *http.Client
}

func newVisitor(t *testing.T) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t, &http.Client{Jar: jar}}
}

// answer is a page.
type answer struct {
	status int
	at     *url.URL
	text   string
}

func (s answer) String() string {
	return http.StatusText(s.status) + " at " + s.at.String() + "\n" + s.text
}

func (s answer) says(text string) bool { return strings.Contains(s.text, text) }

// value is what the page's form has in a hidden field.
func (s answer) value(name string) string {
	m := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(s.text)
	if m == nil {
		return ""
	}
	return html.UnescapeString(m[1])
}

func (v *visitor) read(resp *http.Response, err error) answer {
	if err != nil {
		v.t.Error(err)
		return answer{at: &url.URL{}}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Error(err)
	}
	return answer{resp.StatusCode, resp.Request.URL, string(body)}
}

func (v *visitor) get(at string) answer { return v.read(v.client.Get(at)) }

// send posts a form; post wants it to be taken.
func (v *visitor) send(at string, form url.Values) answer { return v.read(v.client.PostForm(at, form)) }

func (v *visitor) post(at string, form url.Values) answer {
	v.t.Helper()
	s := v.send(at, form)
	if s.status != http.StatusOK {
		v.t.Fatalf("POST %s: %s", at, s)
	}
	return s
}

func (v *visitor) refused(at string, form url.Values, want int) {
	v.t.Helper()
	if s := v.send(at, form); s.status != want {
		v.t.Errorf("POST %s: status %d, want %d: %s", at, s.status, want, s.text)
	}
}

// until looks at a page until it says something.
func (v *visitor) until(page, text string) (s answer) {
	v.t.Helper()
	await.That(v.t, page+" says "+text, func() bool {
		s = v.get(page + "/")
		if s.says(`role="alert"`) {
			v.t.Fatalf("the playground is in trouble: %s", s)
		}
		return s.says(text)
	})
	return s
}

// form is what the buttons of the playground's page send.
func (v *visitor) form(p playground.Place) url.Values {
	return url.Values{"csrf": {v.get(p.Playground + "/").value("csrf")}}
}

// logIn goes from the app to the console's pages and back.
func (v *visitor) logIn(p playground.Place, who playground.User) {
	v.t.Helper()
	login := v.post(p.App+"/login", url.Values{"csrf": {v.get(p.App + "/").value("csrf")}})
	if !strings.HasPrefix(login.at.String(), p.Console+"/login") {
		v.t.Fatalf("the app leads to %s", login)
	}
	consent := v.post(p.Console+"/login", url.Values{"csrf": {login.value("csrf")}, "login_challenge": {login.value("login_challenge")},
		"name": {who.Name}, "password": {who.Password}, "choice": {"login"}})
	if !strings.HasPrefix(consent.at.String(), p.Console+"/consent") {
		v.t.Fatalf("the log-in leads to %s", consent)
	}
	back := v.post(p.Console+"/consent", url.Values{"csrf": {consent.value("csrf")}, "consent_challenge": {consent.value("consent_challenge")},
		"scope": {"openid", "profile", "offline_access"}, "choice": {"allow"}})
	if back.at.String() != p.App+"/" {
		v.t.Fatalf("the consent leads to %s", back)
	}
}

// dead wants the app's token dead, and no new one for it.
func (v *visitor) dead(p playground.Place) {
	v.t.Helper()
	s := v.get(p.App + "/")
	if !s.says("not active") {
		v.t.Errorf("the token lives, though its access was taken back:\n%s", s)
	}
	v.refused(p.App+"/refresh", url.Values{"csrf": {s.value("csrf")}}, http.StatusForbidden)
}
