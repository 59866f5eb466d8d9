// Package stage sets up what a demo or a rehearsal plays on: two throw-away Postgres servers, the old OAuth server on
// blue with seeded data, the new one on green, which waits for its schema, and the router in front.
//
// The servers and the router are processes of their own, as in production: they can be measured, killed and restarted,
// and they end with their owner whatever becomes of it.
package stage

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/authserver/seed"
	"github.com/tideover/tideover/internal/pgserver"
	"github.com/tideover/tideover/internal/stage/ports"
)

// Options says what stage is wanted. The zero value of a field is its default.
type Options struct {
	Executable string          // the tideover binary that is started as server and router; default: this program
	Postgres   pgserver.Source // default: auto
	Network    string          // containers: "bridge" or "host"
	Durable    bool            // keep Postgres' durability settings, for tests that crash it
	Seed       seed.Options
	Before     string    // generation of the old server; default "1.1"
	After      string    // generation of the new server; default "2.0"
	Log        io.Writer // one line for each thing that is started
}

// Stage is a running stage. Close ends and removes all of it.
type Stage struct {
	Blue, Green       *pgserver.Server
	BlueDSN, GreenDSN string
	BlueServer        Endpoint
	GreenServer       Endpoint
	Router            Endpoint // what clients use
	RouterControl     string   // base URL
	RouterToken       string
	SystemSecret      string // of both OAuth servers
	Seeded            seed.Result

	options   Options
	directory string
	processes map[string]*process
	starts    map[string][]string
}

// Endpoint is where a server listens: base URLs.
type Endpoint struct {
	Public, Admin string
}

// Names of the stage's processes, for Kill and Restart.
const (
	BlueServer  = "blue server"
	GreenServer = "green server"
	RouterName  = "router"
)

// Start sets the stage up. On error, or when ctx ends, nothing is left behind.
func Start(ctx context.Context, o Options) (_ *Stage, err error) {
	s := &Stage{options: o.withDefaults(), processes: map[string]*process{}, starts: map[string][]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.options.Executable == "" {
		if s.options.Executable, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	if s.directory, err = os.MkdirTemp("", "tideover-stage-"); err != nil {
		return nil, err
	}
	if s.SystemSecret, err = randomHex(32); err != nil {
		return nil, err
	}
	if s.RouterToken, err = randomHex(24); err != nil {
		return nil, err
	}
	if err := s.startDatabases(ctx); err != nil {
		return nil, err
	}
	if err := authserver.Migrate(ctx, s.BlueDSN, s.options.Before); err != nil {
		return nil, err
	}
	if s.Seeded, err = seed.Seed(ctx, s.BlueDSN, s.options.Seed); err != nil {
		return nil, err
	}
	if err := s.startServers(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func (o Options) withDefaults() Options {
	if o.Before == "" {
		o.Before = "1.1"
	}
	if o.After == "" {
		o.After = "2.0"
	}
	if o.Postgres == "" {
		o.Postgres = pgserver.Auto
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	return o
}

func (s *Stage) startDatabases(ctx context.Context) error {
	start := func(name string) (*pgserver.Server, string, error) {
		server, err := pgserver.Start(ctx, pgserver.Options{
			Source: s.options.Postgres, Name: name, Network: s.options.Network, Fsync: s.options.Durable, Log: s.options.Log,
		})
		if err != nil {
			return nil, "", err
		}
		dsn, err := server.CreateDatabase(ctx, "oauth")
		return server, dsn, err
	}
	var err error
	if s.Blue, s.BlueDSN, err = start("blue"); err != nil {
		return err
	}
	s.Green, s.GreenDSN, err = start("green")
	return err
}

// startServers starts the three processes on addresses chosen before, since each must know the others': the issuer is
// the router, and the router knows both servers.
func (s *Stage) startServers(ctx context.Context) error {
	free, err := ports.Free(ctx, 7)
	if err != nil {
		return err
	}
	url := func(i int) string { return "http://" + free[i] }
	s.BlueServer = Endpoint{Public: url(0), Admin: url(1)}
	s.GreenServer = Endpoint{Public: url(2), Admin: url(3)}
	s.Router = Endpoint{Public: url(4), Admin: url(5)}
	s.RouterControl = url(6)

	server := func(generation string, public, admin string) []string {
		return []string{"server", "serve", "--generation", generation, "--public", public, "--admin", admin,
			"--issuer", s.Router.Public, "--login-url", LoginURL, "--consent-url", ConsentURL}
	}
	s.starts[BlueServer] = server(s.options.Before, free[0], free[1])
	s.starts[GreenServer] = server(s.options.After, free[2], free[3])
	s.starts[RouterName] = []string{"router", "--profile", "bundled",
		"--public-listen", free[4], "--admin-listen", free[5], "--control-listen", free[6],
		"--blue-public", s.BlueServer.Public, "--blue-admin", s.BlueServer.Admin,
		"--green-public", s.GreenServer.Public, "--green-admin", s.GreenServer.Admin,
		"--state", filepath.Join(s.directory, "router.json")}
	for _, name := range []string{BlueServer, GreenServer, RouterName} {
		if err := s.Restart(ctx, name); err != nil {
			return err
		}
	}
	return waitReady(ctx, s.BlueServer.Public+"/health/ready")
}

// LoginURL and ConsentURL are where browsers are sent. Nothing listens there: the traffic generator plays both pages
// and only reads the challenge from the redirect.
const (
	LoginURL   = "http://127.0.0.1:1/login"
	ConsentURL = "http://127.0.0.1:1/consent"
)

// Restart starts one of the stage's processes again, after Kill.
func (s *Stage) Restart(ctx context.Context, name string) error {
	var env []string
	switch name {
	case BlueServer:
		env = []string{"TIDEOVER_SERVER_DSN=" + s.BlueDSN, "TIDEOVER_SYSTEM_SECRET=" + s.SystemSecret}
	case GreenServer:
		env = []string{"TIDEOVER_SERVER_DSN=" + s.GreenDSN, "TIDEOVER_SYSTEM_SECRET=" + s.SystemSecret}
	case RouterName:
		env = []string{"TIDEOVER_ROUTER_TOKEN=" + s.RouterToken}
	default:
		return fmt.Errorf("the stage has no process %q", name)
	}
	p, err := startProcess(ctx, name, logFile(s.directory, name), s.options.Executable, env, s.starts[name]...)
	if err != nil {
		return err
	}
	s.processes[name] = p
	fmt.Fprintf(s.options.Log, "%s: pid %d, %v\n", name, p.cmd.Process.Pid, p.addresses)
	return nil
}

// Kill ends one of the stage's processes with SIGKILL.
func (s *Stage) Kill(name string) error {
	p, ok := s.processes[name]
	if !ok {
		return fmt.Errorf("the stage has no process %q", name)
	}
	p.kill()
	delete(s.processes, name)
	return nil
}

// Directory is for what belongs to the stage and goes with it.
func (s *Stage) Directory() string { return s.directory }

// Environment is what a runbook's ${…} references stand for on this stage.
func (s *Stage) Environment() map[string]string {
	return map[string]string{
		"TIDEOVER_BLUE_DSN":     s.BlueDSN,
		"TIDEOVER_GREEN_DSN":    s.GreenDSN,
		"TIDEOVER_BLUE_PUBLIC":  s.BlueServer.Public,
		"TIDEOVER_BLUE_ADMIN":   s.BlueServer.Admin,
		"TIDEOVER_GREEN_PUBLIC": s.GreenServer.Public,
		"TIDEOVER_GREEN_ADMIN":  s.GreenServer.Admin,
		"TIDEOVER_ROUTER_ADMIN": s.RouterControl,
		"TIDEOVER_ROUTER_TOKEN": s.RouterToken,
	}
}

// Close ends every process and Postgres and removes their files. It may be called again.
func (s *Stage) Close() error {
	var errs []error
	for _, name := range []string{RouterName, GreenServer, BlueServer} {
		if p, ok := s.processes[name]; ok {
			errs = append(errs, p.stop())
			delete(s.processes, name)
		}
	}
	for _, server := range []*pgserver.Server{s.Green, s.Blue} {
		if server != nil {
			errs = append(errs, server.Close())
		}
	}
	if s.directory != "" {
		errs = append(errs, os.RemoveAll(s.directory))
	}
	return errors.Join(errs...)
}

func randomHex(n int) (string, error) {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	return hex.EncodeToString(b), nil
}

// readyWithin bounds the wait for a server that has its schema already.
const readyWithin = 20 * time.Second
