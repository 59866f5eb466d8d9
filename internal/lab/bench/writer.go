// Package bench measures what live traffic feels of migrations, as they are and rewritten.
package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Writer writes rows of public.token at a steady rate, whether the answers come or not: a row that is held up holds no other
// up, as with a server that has a connection for each request.
type Writer struct {
	pool   *pgxpool.Pool
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	waits []time.Duration
	err   error
}

// StartWriter begins to update rows number 1 to rows, perSecond of them a second.
func StartWriter(ctx context.Context, dsn string, rows int, perSecond int) (*Writer, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("the writer's connection string can't be read")
	}
	config.MaxConns, config.MinConns = 60, 4
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	w := &Writer{pool: pool, done: make(chan struct{})}
	ctx, w.cancel = context.WithCancel(ctx)
	go w.loop(ctx, rows, time.Second/time.Duration(perSecond))
	return w, nil
}

// loop starts a write at each tick, and waits for all of them at the end.
func (w *Writer) loop(ctx context.Context, rows int, every time.Duration) {
	defer close(w.done)
	var open sync.WaitGroup
	defer open.Wait()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		open.Add(1)
		go func() {
			defer open.Done()
			w.write(context.WithoutCancel(ctx), 1+rand.IntN(rows))
		}()
	}
}

// write measures from when the write was due: waiting for a connection, because all are held up, counts.
func (w *Writer) write(ctx context.Context, id int) {
	const update = `UPDATE public.token SET used = used + 1 WHERE id = $1`
	began := time.Now()
	_, err := w.pool.Exec(ctx, update, id)
	took := time.Since(began)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waits = append(w.waits, took)
	if err != nil {
		w.err = errors.Join(w.err, err)
	}
}

// Written counts the writes that were answered so far.
func (w *Writer) Written() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.waits)
}

// Stop ends the writer. Longest is the longest write, median the usual one; err is what writes failed with.
func (w *Writer) Stop() (longest, median time.Duration, err error) {
	w.cancel()
	<-w.done
	w.pool.Close()
	if len(w.waits) == 0 {
		return 0, 0, w.err
	}
	slices.Sort(w.waits)
	return w.waits[len(w.waits)-1], w.waits[len(w.waits)/2], w.err
}
