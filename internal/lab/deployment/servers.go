package deployment

import (
	"context"
	"net"
	"strings"

	"github.com/tideover/tideover/internal/lab/seed"
	"github.com/tideover/tideover/internal/lab/traffic"
	"github.com/tideover/tideover/plan"
)

// Servers names the two OAuth servers of a deployment.
type Servers string

// The servers that a deployment can have.
const (
	Bundled Servers = "bundled" // two generations of the server that this program brings along
	Hydra   Servers = "hydra"   // Ory Hydra 1.x and 2.x, the real ones
)

// ServersOf gives the servers that a profile is about, built in or a copy of one.
func ServersOf(p *plan.Profile) Servers {
	if p.Table("hydra_client") != nil {
		return Hydra
	}
	return Bundled
}

// servers is a pair of OAuth servers: the old one on blue, and the new one, which waits on green for its schema.
type servers interface {
	migrate(ctx context.Context, s *Deployment) error             // gives blue the old schema
	seed(ctx context.Context, s *Deployment) (seed.Result, error) // old data; the old server serves already
	program(s *Deployment, name string) program                   // BlueServer or GreenServer
	metrics(at Endpoint, name string) string                      // URL of its Prometheus metrics
	clients(c *traffic.Config)                                    // sets what clients must know of them
	commands() map[string]string                                  // what a runbook's commands stand for: name to program
}

// program is how a process of the deployment is started.
type program struct {
	executable string
	args, env  []string
	// announces says that its first line on stdout is where it listens, as JSON, and that it ends with its stdin.
	announces bool
	// again starts it anew when it ends by itself, as an orchestrator does: a server that can't wait for its schema.
	again bool
}

func host(base string) string { return strings.TrimPrefix(base, "http://") }

func splitPort(base string) string {
	_, port, _ := net.SplitHostPort(host(base)) // made by ports.Free
	return port
}
