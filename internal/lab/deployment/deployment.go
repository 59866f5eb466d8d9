// Package deployment sets up what a demo or a rehearsal plays on: two throw-away Postgres servers, the old OAuth server on
// blue with seeded data, the new one on green, which waits for its schema, and the router in front.
//
// The servers and the router are processes of their own, as in production: they can be measured, killed and restarted,
// and they end with their owner whatever becomes of it.
package deployment

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tideover/tideover/internal/lab/deployment/ports"
	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/seed"
	"github.com/tideover/tideover/internal/lab/traffic"
)

// Options says what deployment is wanted. The zero value of a field is its default.
type Options struct {
	Executable string          // the tideover binary that is started as server and router; default: this program
	Postgres   pgserver.Origin // default: auto
	Network    string          // containers: "bridge" or "host"
	Durable    bool            // keep Postgres' durability settings, for tests that crash it
	Pair       *Pair           // servers to have databases on; default: two of the deployment's own
	Seed       seed.Options
	Servers    Servers   // default: Bundled
	Before     string    // generation of the old bundled server; default "1.1"
	After      string    // generation of the new bundled server; default "2.0"
	Ordinary   bool      // all that connects does so as a role that owns its database and is no superuser
	Schema     string    // of the servers' tables, by search_path; Hydra alone. Default: "public"
	Settings   []string  // more variables for both servers, "NAME=value"
	InPlace    bool      // no green: the new bundled server waits on blue's database
	Profile    string    // the router's; default: as the servers are called
	Pages      string    // base URL of the log-in and consent pages that browsers are sent to; default: Nowhere
	Log        io.Writer // one line for each thing that is started
}

// Deployment is a running deployment. Close ends and removes all of it.
type Deployment struct {
	Blue, Green       *pgserver.Server
	BlueDSN, GreenDSN string
	BlueServer        Endpoint
	GreenServer       Endpoint
	Router            Endpoint // what clients use
	RouterControl     string   // base URL
	RouterToken       string
	SystemSecret      string // of both OAuth servers
	Seeded            seed.Result
	ServerRole        string // in place: what the servers connect as

	options   Options
	superuser string // blue's database as a superuser: what years did to old data no server can do
	database  string // what both sides' databases are called
	furnished bool   // blue has its schema and its old data
	servers   servers
	directory string
	processes map[string]*process
	starts    map[string]program
}

// Endpoint is where a server listens: base URLs, and the URL of its metrics.
type Endpoint struct {
	Public, Admin string
	Metrics       string
}

// Names of the deployment's processes, for Kill and Restart.
const (
	BlueServer  = "blue server"
	GreenServer = "green server"
	RouterName  = "router"
)

// Start sets the deployment up. On error, or when ctx ends, nothing is left behind.
func Start(ctx context.Context, o Options) (_ *Deployment, err error) {
	s := &Deployment{options: o.withDefaults(), processes: map[string]*process{}, starts: map[string]program{}}
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
	if s.servers, err = s.options.company(); err != nil {
		return nil, err
	}
	if s.directory, err = os.MkdirTemp("", "tideover-demo-"); err != nil {
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
	s.superuser = s.BlueDSN
	if err := s.asOwners(ctx); err != nil {
		return nil, err
	}
	if !s.furnished {
		if err := s.servers.migrate(ctx, s); err != nil {
			return nil, err
		}
	}
	if err := s.asRole(ctx); err != nil {
		return nil, err
	}
	if err := s.startServers(ctx); err != nil {
		return nil, err
	}
	if !s.furnished {
		if s.Seeded, err = s.servers.seed(ctx, s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// company gives the servers that are asked for.
func (o Options) company() (servers, error) {
	switch o.Servers {
	case Bundled:
		return bundled{o.Before, o.After}, nil
	case Hydra:
		return findHydra(o.Executable)
	}
	return nil, fmt.Errorf("there are no servers %q for a deployment", o.Servers)
}

func (o Options) withDefaults() Options {
	if o.Before == "" {
		o.Before = "1.1"
	}
	if o.After == "" {
		o.After = "2.0"
	}
	if o.Servers == "" {
		o.Servers = Bundled
	}
	if o.Profile == "" {
		o.Profile = string(o.Servers)
	}
	if o.Postgres == "" {
		o.Postgres = pgserver.Auto
	}
	if o.Pages == "" {
		o.Pages = Nowhere
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	return o
}

func (s *Deployment) startDatabases(ctx context.Context) error {
	if s.options.Pair != nil {
		return s.options.Pair.lend(ctx, s)
	}
	s.database = "oauth"
	start := func(name string) (*pgserver.Server, string, error) {
		server, err := pgserver.Start(ctx, s.options.postgres(name))
		if err != nil {
			return nil, "", err
		}
		dsn, err := server.CreateDatabase(ctx, s.database)
		return server, dsn, err
	}
	var err error
	if s.Blue, s.BlueDSN, err = start("blue"); err != nil {
		return err
	}
	if s.options.InPlace {
		return nil
	}
	s.Green, s.GreenDSN, err = start("green")
	return err
}

// postgres are the options of one of the deployment's Postgres servers.
func (o Options) postgres(name string) pgserver.Options {
	return pgserver.Options{Source: o.Postgres, Name: name, Network: o.Network, Fsync: o.Durable, Log: o.Log}
}

// startServers starts the three processes on addresses chosen before, since each must know the others': the issuer is
// the router, and the router knows both servers.
func (s *Deployment) startServers(ctx context.Context) error {
	free, err := ports.Free(ctx, 7)
	if err != nil {
		return err
	}
	url := func(i int) string { return "http://" + free[i] }
	s.BlueServer = Endpoint{Public: url(0), Admin: url(1)}
	s.GreenServer = Endpoint{Public: url(2), Admin: url(3)}
	s.Router = Endpoint{Public: url(4), Admin: url(5)}
	s.RouterControl = url(6)

	s.BlueServer.Metrics = s.servers.metrics(s.BlueServer, BlueServer)
	s.GreenServer.Metrics = s.servers.metrics(s.GreenServer, GreenServer)
	for _, name := range []string{BlueServer, GreenServer} {
		p := s.servers.program(s, name)
		p.env = append(p.env, s.options.Settings...)
		s.starts[name] = p
	}
	s.starts[RouterName] = program{executable: s.options.Executable, announces: true, env: []string{"TIDEOVER_ROUTER_TOKEN=" + s.RouterToken},
		args: []string{"router", "--profile", s.options.Profile,
			"--public-listen", free[4], "--admin-listen", free[5], "--control-listen", free[6],
			"--blue-public", s.BlueServer.Public, "--blue-admin", s.BlueServer.Admin,
			"--green-public", s.GreenServer.Public, "--green-admin", s.GreenServer.Admin,
			"--public-url", s.Router.Public, "--admin-url", s.Router.Admin,
			"--state", filepath.Join(s.directory, "router.json")}}
	for _, name := range []string{BlueServer, GreenServer, RouterName} {
		if err := s.Restart(ctx, name); err != nil {
			return err
		}
	}
	return waitReady(ctx, s.BlueServer.Public+"/health/ready")
}

// Nowhere is where browsers are sent without Options.Pages. Nothing listens there: the traffic generator plays the log-in and consent
// pages and only reads the challenge from the redirect.
const Nowhere = "http://127.0.0.1:1"

// page is the address of one of the pages that browsers are sent to.
func (o Options) page(name string) string { return o.Pages + "/" + name }

// Restart starts one of the deployment's processes again, after Kill.
func (s *Deployment) Restart(ctx context.Context, name string) error {
	what, ok := s.starts[name]
	if !ok {
		return fmt.Errorf("the deployment has no process %q", name)
	}
	p, err := startProcess(ctx, name, logFile(s.directory, name), what)
	if err != nil {
		return err
	}
	s.processes[name] = p
	fmt.Fprintf(s.options.Log, "%s: pid %d, %v\n", name, p.cmd.Process.Pid, p.addresses)
	return nil
}

// RestartWith is Restart with other values for variables of its environment, from now on: "NAME=value".
func (s *Deployment) RestartWith(ctx context.Context, name string, env ...string) error {
	what := s.starts[name]
	what.env = append(slices.Clone(what.env), env...) // of two with one name the last counts
	s.starts[name] = what
	return s.Restart(ctx, name)
}

// Kill ends one of the deployment's processes with SIGKILL.
func (s *Deployment) Kill(name string) error {
	return s.end(name, func(p *process) error { p.kill(); return nil })
}

// Stop ends one of the deployment's processes as its operator would: requests under way come to their end.
func (s *Deployment) Stop(name string) error { return s.end(name, (*process).stop) }

func (s *Deployment) end(name string, how func(*process) error) error {
	p, ok := s.processes[name]
	if !ok {
		return fmt.Errorf("the deployment has no process %q", name)
	}
	delete(s.processes, name)
	return how(p)
}

// Directory is for what belongs to the deployment and goes with it.
func (s *Deployment) Directory() string { return s.directory }

// Variables are the names of what Environment gives.
func Variables() []string {
	return slices.Sorted(maps.Keys((&Deployment{}).Environment()))
}

// Environment is what a runbook's ${…} references stand for on this deployment.
func (s *Deployment) Environment() map[string]string {
	return map[string]string{
		"TIDEOVER_BLUE_DSN":     s.BlueDSN,
		"TIDEOVER_GREEN_DSN":    s.GreenDSN,
		"TIDEOVER_BLUE_PUBLIC":  s.BlueServer.Public,
		"TIDEOVER_BLUE_ADMIN":   s.BlueServer.Admin,
		"TIDEOVER_GREEN_PUBLIC": s.GreenServer.Public,
		"TIDEOVER_GREEN_ADMIN":  s.GreenServer.Admin,
		"TIDEOVER_ROUTER_ADMIN": s.RouterControl,
		"TIDEOVER_ROUTER_TOKEN": s.RouterToken,
		"TIDEOVER_SERVER_ROLE":  s.ServerRole,
	}
}

// Clients completes a configuration of clients by what is peculiar to the deployment's servers.
func (s *Deployment) Clients(c traffic.Config) traffic.Config {
	s.servers.clients(&c)
	return c
}

// Commands are the programs that a runbook's commands stand for on this deployment, by name.
func (s *Deployment) Commands() map[string]string { return s.servers.commands() }

// Close ends every process and Postgres and removes their files. It may be called again.
func (s *Deployment) Close() error {
	var errs []error
	for _, name := range []string{RouterName, GreenServer, BlueServer} {
		if p, ok := s.processes[name]; ok {
			errs = append(errs, p.stop())
			delete(s.processes, name)
		}
	}
	if s.options.Pair != nil {
		errs = append(errs, s.options.Pair.takeBack(s))
	} else {
		for _, server := range []*pgserver.Server{s.Green, s.Blue} {
			if server != nil {
				errs = append(errs, server.Close())
			}
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

// readyWithin bounds the wait for a server that has its schema already. Hydra makes its keys first: on a busy machine that takes
// many seconds.
const readyWithin = time.Minute
