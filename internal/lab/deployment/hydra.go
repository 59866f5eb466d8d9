package deployment

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/tideover/tideover/internal/lab/hydra"
	"github.com/tideover/tideover/internal/lab/seed"
	"github.com/tideover/tideover/internal/lab/traffic"
)

// Environment variables that name the programs of the real Hydra.
const (
	HydraBefore = "TIDEOVER_HYDRA_V1"
	HydraAfter  = "TIDEOVER_HYDRA_V2"
)

// realHydra are two versions of Ory Hydra, unmodified.
type realHydra struct{ before, after string }

// findHydra looks for both programs: where the environment says, beside the tideover program, in bin, or on the PATH.
func findHydra(tideover string) (realHydra, error) {
	find := func(variable, name string) (string, error) {
		if path := os.Getenv(variable); path != "" {
			return exec.LookPath(path)
		}
		for _, path := range []string{filepath.Join(filepath.Dir(tideover), name), filepath.Join("bin", name), name} {
			if found, err := exec.LookPath(path); err == nil {
				return filepath.Abs(found)
			}
		}
		return "", &NoHydraError{variable, name}
	}
	before, err := find(HydraBefore, "hydra-v1")
	if err != nil {
		return realHydra{}, err
	}
	after, err := find(HydraAfter, "hydra-v2")
	return realHydra{before, after}, err
}

// NoHydraError says that a program of the real Hydra was not found.
type NoHydraError struct{ variable, name string }

func (e *NoHydraError) Error() string { return fmt.Sprintf("no program %s was found", e.name) }

// Hint says where it can come from.
func (e *NoHydraError) Hint() string {
	return fmt.Sprintf("\"make hydra\" builds it into bin; %s names another one", e.variable)
}

func (h realHydra) migrate(ctx context.Context, s *Deployment) error {
	cmd := exec.CommandContext(ctx, h.before, "migrate", "sql", "--read-from-env", "--yes")
	cmd.Env = append(os.Environ(), "DSN="+s.inSchema(s.BlueDSN))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("hydra migrate sql on blue: %w: %s", err, out.Bytes()[max(0, out.Len()-tailBytes):])
	}
	return nil
}

func (h realHydra) seed(ctx context.Context, s *Deployment) (seed.Result, error) {
	return hydra.Seed(ctx, hydra.Site{
		DSN: s.inSchema(s.superuser), Issuer: s.Router.Public, Public: s.BlueServer.Public, Admin: s.BlueServer.Admin,
	}, s.options.Seed)
}

// program starts Hydra as its documentation says. The issuer ends in a slash on both sides: 1.x adds one, 2.x does not,
// and clients compare it byte for byte.
func (h realHydra) program(s *Deployment, name string) program {
	p := program{executable: h.before, args: []string{"serve", "all", "--dangerous-force-http"}}
	dsn, at := s.BlueDSN, s.BlueServer
	if name == GreenServer {
		p = program{executable: h.after, args: []string{"serve", "all", "--dev"}, again: true}
		dsn, at = s.GreenDSN, s.GreenServer
	}
	public, admin := splitPort(at.Public), splitPort(at.Admin)
	p.env = []string{
		"DSN=" + pooled(s.inSchema(dsn)), "SECRETS_SYSTEM=" + s.SystemSecret, "SECRETS_COOKIE=" + s.SystemSecret,
		"URLS_SELF_ISSUER=" + s.Router.Public + "/",
		"URLS_LOGIN=" + s.options.page("login"), "URLS_CONSENT=" + s.options.page("consent"), "URLS_LOGOUT=" + s.options.page("logout"),
		"SERVE_PUBLIC_HOST=127.0.0.1", "SERVE_PUBLIC_PORT=" + public, "SERVE_ADMIN_HOST=127.0.0.1", "SERVE_ADMIN_PORT=" + admin,
		"LOG_LEVEL=warn", "LOG_LEAK_SENSITIVE_VALUES=false", "SQA_OPT_OUT=true",
		"OAUTH2_HASHERS_BCRYPT_COST=8", // at the default, checking client secrets is most of what a small machine does
	}
	return p
}

// pooled asks for more connections than Hydra's default of two a core. It takes a second one in the middle of a
// transaction: where as many transactions as there are connections wait for theirs, none goes on until clients give up.
// A small machine gets there in the burst after a hold.
func pooled(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil {
		return dsn
	}
	q := u.Query()
	q.Set("max_conns", "24")
	q.Set("max_idle_conns", "8")
	u.RawQuery = q.Encode()
	return u.String()
}

func (h realHydra) metrics(at Endpoint, name string) string {
	if name == GreenServer {
		return at.Admin + "/admin/metrics/prometheus"
	}
	return at.Admin + "/metrics/prometheus"
}

// clients tells how Hydra answers when its database refuses: as for any error that it does not know. And it revokes in two
// transactions: a refresh in between leaves half a session behind, which looks like a loss and is none of ours.
func (h realHydra) clients(c *traffic.Config) {
	c.Refusal = traffic.Refusal{Status: http.StatusInternalServerError, Errors: []string{"error", "server_error"}}
	c.RevokesInVain, c.TornLists, c.ForgetsLogins = true, true, true
	c.Mix = traffic.DefaultMix()
	c.Mix.Races = 0
}

func (h realHydra) commands() map[string]string { return map[string]string{"hydra": h.after} }
