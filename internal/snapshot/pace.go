package snapshot

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tideover/tideover/internal/postgres"
)

// Pace bounds what blue feels of a copy. The zero value bounds nothing.
type Pace struct {
	MaxRate   int64         // bytes a second, over all jobs
	MaxLag    time.Duration // of the replica of blue's that is furthest behind (pg_stat_replication, replay_lag)
	MaxActive int           // sessions of others that are at work on blue's database

	Pass func(ctx context.Context) error // is asked before each piece, and may keep it waiting; nil: nobody is
	Rate func() int64                    // bytes a second that a person has asked for while the copy goes on, 0: any; nil: nobody
}

// Able says whether our role can see what MaxLag and MaxActive go by. Another than this would never make a copy hold.
func (p Pace) Able(ctx context.Context, blue *postgres.DB) error {
	if p.MaxLag == 0 && p.MaxActive == 0 {
		return nil
	}
	var sees bool
	if err := blue.Pool().QueryRow(ctx, `SELECT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')`).Scan(&sees); err != nil {
		return fmt.Errorf("%s: ask what our role sees: %w", blue.Name(), err)
	}
	if !sees {
		return &blindError{blue.Name()}
	}
	return nil
}

// lookEvery is how often blue is asked how it is.
const lookEvery = time.Second

// pace makes the workers of a copy wait.
type pace struct {
	Pace
	limiter *rate.Limiter

	mu   sync.Mutex
	open chan struct{} // closed while blue is well
	held bool
}

func newPace(p Pace) *pace {
	limit := rate.Inf
	if p.MaxRate > 0 {
		limit = rate.Limit(p.MaxRate)
	}
	open := make(chan struct{})
	close(open)
	return &pace{Pace: p, limiter: rate.NewLimiter(limit, wireBuffer), open: open}
}

// wait returns when n bytes, of a wireBuffer at most, may have been taken from blue and more may be.
func (p *pace) wait(ctx context.Context, n int64) error {
	if p.Pass != nil {
		if err := p.Pass(ctx); err != nil {
			return err
		}
	}
	if p.Rate != nil {
		p.limit(p.Rate())
	}
	if err := p.limiter.WaitN(ctx, int(n)); err != nil {
		return err
	}
	p.mu.Lock()
	open := p.open
	p.mu.Unlock()
	select {
	case <-open:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// limit has the copy take the lower of the runbook's rate and another; 0 is none.
func (p *pace) limit(asked int64) {
	limit := rate.Inf
	if p.MaxRate > 0 {
		limit = rate.Limit(p.MaxRate)
	}
	if asked > 0 {
		limit = min(limit, rate.Limit(asked))
	}
	if p.limiter.Limit() != limit {
		p.limiter.SetLimit(limit)
	}
}

// watch keeps looking at blue until ctx ends: see adjust.
func (p *pace) watch(ctx context.Context, blue *postgres.DB, tell func(reason string)) error {
	if p.MaxLag == 0 && p.MaxActive == 0 {
		return nil
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := p.adjust(ctx, blue, tell); err != nil {
			return err
		}
	}
}

// adjust looks at blue, and has the workers hold or go on. It tells why they hold, or "" when they go on. Calls come one at a time.
func (p *pace) adjust(ctx context.Context, blue *postgres.DB, tell func(reason string)) error {
	if p.MaxLag == 0 && p.MaxActive == 0 {
		return nil
	}
	reason, err := p.look(ctx, blue)
	if ctx.Err() != nil {
		return nil // the copy is over
	}
	if err != nil {
		return fmt.Errorf("look how blue is: %w", err)
	}
	p.mu.Lock()
	held := p.held
	p.held = reason != ""
	switch {
	case p.held && !held:
		p.open = make(chan struct{})
	case !p.held && held:
		close(p.open)
	}
	p.mu.Unlock()
	if reason != "" || held {
		tell(reason)
	}
	return nil
}

// look says why blue is not to be burdened now; "": it may be.
func (p *pace) look(ctx context.Context, blue *postgres.DB) (string, error) {
	const lagging = `SELECT coalesce(max(extract(epoch FROM replay_lag)), 0)::float8 FROM pg_catalog.pg_stat_replication`
	const active = `SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database() AND state = 'active'
		AND backend_type = 'client backend' AND application_name NOT LIKE 'tideover%'`
	if p.MaxLag > 0 {
		var seconds float64
		if err := blue.Pool().QueryRow(ctx, lagging).Scan(&seconds); err != nil {
			return "", err
		}
		if lag := time.Duration(seconds * float64(time.Second)); lag > p.MaxLag {
			return fmt.Sprintf("held: a replica of blue is %s behind, at most %s are allowed (max_lag)", lag.Round(100*time.Millisecond), p.MaxLag), nil
		}
	}
	if p.MaxActive > 0 {
		var n int
		if err := blue.Pool().QueryRow(ctx, active).Scan(&n); err != nil {
			return "", err
		}
		if n > p.MaxActive {
			return fmt.Sprintf("held: %d sessions are at work on blue, at most %d are allowed (max_active)", n, p.MaxActive), nil
		}
	}
	return "", nil
}
