package rehearsal

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tideover/tideover/internal/lab/telemetry"
	"github.com/tideover/tideover/internal/postgres"
)

// lockProbes watch in the background how long the clients of databases wait for locks of ours: blue's until the switch,
// and green's after it, when triggers and the fence are still to be removed.
type lockProbes struct {
	cancel context.CancelFunc
	group  errgroup.Group

	mu      sync.Mutex
	longest time.Duration
}

func startProbes(ctx context.Context, dbs ...*postgres.DB) (*lockProbes, error) {
	ctx, cancel := context.WithCancel(ctx)
	p := &lockProbes{cancel: cancel}
	for _, db := range dbs {
		conn, err := db.ConnectAs(ctx, "lock probe")
		if err != nil {
			_, _ = p.stop()
			return nil, err
		}
		p.group.Go(func() error {
			defer conn.Close(context.WithoutCancel(ctx))
			longest, err := telemetry.BlockedProbe{Conn: conn}.Run(ctx)
			p.mu.Lock()
			defer p.mu.Unlock()
			p.longest = max(p.longest, longest)
			return err
		})
	}
	return p, nil
}

// stop ends the watch and returns the longest wait.
func (p *lockProbes) stop() (time.Duration, error) {
	p.cancel()
	err := p.group.Wait()
	return p.longest, err
}
