package deployment

import (
	"context"
	"strings"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/lab/seed"
	"github.com/tideover/tideover/internal/lab/traffic"
)

// bundled are two generations of the OAuth server that this program brings along.
type bundled struct{ before, after string }

func (b bundled) migrate(ctx context.Context, s *Deployment) error {
	return authserver.Migrate(ctx, s.BlueDSN, b.before)
}

func (b bundled) seed(ctx context.Context, s *Deployment) (seed.Result, error) {
	return seed.Seed(ctx, s.BlueDSN, s.options.Seed)
}

func (b bundled) program(s *Deployment, name string) program {
	generation, dsn, at := b.before, s.serverDSN(s.BlueDSN, ""), s.BlueServer
	if name == GreenServer {
		generation, dsn, at = b.after, s.GreenDSN, s.GreenServer
	}
	if name == GreenServer && s.options.InPlace {
		dsn = s.serverDSN(s.BlueDSN, "public")
	}
	args := []string{"server", "serve", "--generation", generation, "--public", host(at.Public), "--admin", host(at.Admin),
		"--issuer", s.Router.Public, "--behind-proxy", "--login-url", s.options.page("login"), "--consent-url", s.options.page("consent")}
	if s.options.Pages != Nowhere && strings.HasPrefix(generation, "2.") {
		args = append(args, "--device-url", s.options.page("device"))
	}
	return program{
		executable: s.options.Executable, announces: true, args: args,
		env: []string{"TIDEOVER_SERVER_DSN=" + dsn, "TIDEOVER_SYSTEM_SECRET=" + s.SystemSecret},
	}
}

func (b bundled) metrics(at Endpoint, _ string) string { return at.Admin + "/metrics/prometheus" }

func (b bundled) clients(*traffic.Config) {}

func (b bundled) commands() map[string]string { return nil }
