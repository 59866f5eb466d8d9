// Package playground is an upgrade to be touched: the bundled OAuth server on throw-away Postgres, the console in front, a third
// party's app to log in to, and a page on which a person starts the upgrade, holds it open and takes it back. All of it listens on
// loopback alone, and goes when the playground ends.
package playground

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tideover/tideover/internal/console"
	"github.com/tideover/tideover/internal/httpserve"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/deployment"
	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/seed"
	"github.com/tideover/tideover/plan"
)

// Options says what is to be played with.
type Options struct {
	Load     func(env func(string) (string, bool)) (*plan.Runbook, *plan.Profile, error) // the runbook, on the deployment
	Version  string
	Postgres pgserver.Origin
	Network  string        // of containers: "bridge" or "host"
	For      time.Duration // how long it stays up; 0: until the context ends
	Sink     journal.Sink  // of the upgrade's events; may be nil
	Log      io.Writer     // one line for each thing that is started
	Ready    func(Place)   // is called once, when a person can begin
}

// Place is where everything is, and who can log in.
type Place struct {
	Playground string `json:"playground"` // the page
	Console    string `json:"console"`
	App        string `json:"app"`
	Issuer     string `json:"issuer"` // the router's public address, in front of both servers
	Admin      string `json:"admin"`  // the router's admin address
	Client     string `json:"client"` // the app's id at the server
	Users      []User `json:"users"`
}

// User is somebody who can log in. The password is made up for this playground.
type User struct {
	Name     string `json:"name"`
	Password string `json:"password"`
	Admin    bool   `json:"admin"`
}

// seeded is how much old data there is: enough to look at, little to wait for.
var seeded = seed.Options{Clients: 10, Sessions: 300, Offending: true}

// Run sets the playground up and keeps it until its time is over or ctx ends, which is no error once it was ready. Nothing is left
// behind.
func Run(ctx context.Context, o Options) (err error) {
	listeners := make([]net.Listener, 0, 3)
	defer func() {
		for _, l := range listeners {
			l.Close()
		}
	}()
	for _, name := range []string{"playground", "console", "app"} { // the servers must know the console's address when they start
		l, err := httpserve.Listen(ctx, name, "127.0.0.1:0")
		if err != nil {
			return err
		}
		listeners = append(listeners, l)
	}
	page, pages, app := listeners[0], listeners[1], listeners[2]
	d, err := deployment.Start(ctx, deployment.Options{Postgres: o.Postgres, Network: o.Network, Seed: seeded, Pages: base(pages), Log: o.Log})
	if err != nil {
		return fmt.Errorf("set the deployment: %w", err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()

	place := Place{Playground: base(page), Console: base(pages), App: base(app), Issuer: d.Router.Public, Admin: d.Router.Admin,
		Users: []User{{Name: "ann", Password: rand.Text()[:12]}, {Name: "root", Password: rand.Text()[:12], Admin: true}}}
	people, err := newConsole(d.Directory(), place)
	if err != nil {
		return err
	}
	third, err := newApp(ctx, place)
	if err != nil {
		return err
	}
	place.Client = third.oauth.ClientID
	up := newUpgrade(o, d)
	status, err := newPage(place, up)
	if err != nil {
		return err
	}
	playing, stop := context.WithCancel(ctx)
	defer stop()
	if o.For > 0 {
		playing, stop = context.WithTimeout(playing, o.For)
		defer stop()
	}
	serving, served := errgroup.WithContext(playing)
	serving.Go(func() error { return httpserve.Until(served, page, status.handler(page.Addr())) })
	serving.Go(func() error { return httpserve.Until(served, pages, people.Handler()) })
	serving.Go(func() error { return httpserve.Until(served, app, third.handler(app.Addr())) })
	serving.Go(func() error { return up.work(served) })
	o.Ready(place)
	return serving.Wait()
}

func base(l net.Listener) string { return "http://" + l.Addr().String() }

// newConsole makes the pages of the server, in front of the router: what a person does there is held and switched as any client's is.
func newConsole(directory string, p Place) (*console.Console, error) {
	var lines bytes.Buffer
	var admins []string
	for _, u := range p.Users {
		line, err := console.UserLine(u.Name, u.Password)
		if err != nil {
			return nil, err
		}
		fmt.Fprintln(&lines, line)
		if u.Admin {
			admins = append(admins, u.Name)
		}
	}
	path := filepath.Join(directory, "users")
	if err := os.WriteFile(path, lines.Bytes(), 0o600); err != nil {
		return nil, err
	}
	users, err := console.OpenUsers(path)
	if err != nil {
		return nil, err
	}
	return console.New(console.Config{Admin: p.Admin, Public: p.Issuer, Origin: p.Console, Title: "Playground", Users: users, Admins: admins,
		Audit: slog.New(slog.DiscardHandler)})
}

// call speaks to the admin API with JSON, or with a form.
func call(ctx context.Context, method, url, kind string, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: status %d: %s", method, url, resp.StatusCode, bytes.TrimSpace(answer))
	}
	return json.Unmarshal(answer, out)
}
