package rehearsal

import (
	"context"
	"time"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/telemetry"
)

// lockProbe watches in the background how long blue's clients wait for locks of ours.
type lockProbe struct {
	cancel  context.CancelFunc
	done    chan struct{}
	longest time.Duration
	err     error
}

func startProbe(ctx context.Context, blue *postgres.DB) (*lockProbe, error) {
	conn, err := blue.ConnectAs(ctx, "lock probe")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &lockProbe{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer conn.Close(context.WithoutCancel(ctx))
		p.longest, p.err = telemetry.BlockedProbe{Conn: conn}.Run(ctx)
	}()
	return p, nil
}

// stop ends the watch and returns the longest wait.
func (p *lockProbe) stop() (time.Duration, error) {
	p.cancel()
	<-p.done
	return p.longest, p.err
}
