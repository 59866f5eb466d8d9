package steps

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Background is a step whose work goes on after its Run, while later steps run: replay keeps the backlog small until
// the cutover; the cutover keeps what the way back needs.
//
// The Runner calls Background in a goroutine of its own once the step is finished, and again in a process that goes on
// with the run after a stop or a crash. It is not called for a step before the cutover once the point of no return has
// been stored, nor on the way back. It ends
//
//   - when a later step calls [Progress.StopBackground]: the cutover, when it is about to do the last replay itself;
//   - when the run stops, for whatever reason: ctx is cancelled, and the Runner returns only after Background has;
//   - by itself, with nil, when it has nothing more to do.
//
// Any other error stops the run: the foreground step's context is cancelled, this step is recorded as failed, and a
// resume calls its Run again (Done is asked first, and should say no while its work is behind).
type Background interface {
	Background(ctx context.Context, p *Progress) error
}

// backgroundError says which step's work in the background has ended the run.
type backgroundError struct {
	step string
	err  error
}

func (e *backgroundError) Error() string {
	return fmt.Sprintf("step %q, in the background: %v", e.step, e.err)
}

func (e *backgroundError) Unwrap() error { return e.err }

// crew is the work in the background of one Runner.Run.
type crew struct {
	mu     sync.Mutex
	wg     sync.WaitGroup
	run    context.Context         // of the run
	fail   context.CancelCauseFunc // ends the run
	work   context.Context         // of the work that goes on; nil while there is none
	cancel context.CancelFunc
	err    error // the first that the work has ended with
}

// begin makes ready to start work under a run's context. fail ends that run.
func (c *crew) begin(run context.Context, fail context.CancelCauseFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.run, c.fail = run, fail
}

func (c *crew) start(step string, f func(ctx context.Context) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.work == nil {
		c.work, c.cancel = context.WithCancel(c.run)
	}
	ctx, fail := c.work, c.fail
	c.wg.Go(func() {
		err := f(ctx)
		if err == nil || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return
		}
		failure := &backgroundError{step: step, err: err}
		c.mu.Lock()
		if c.err == nil {
			c.err = failure
		}
		c.mu.Unlock()
		if ctx.Err() == nil {
			fail(failure)
		}
	})
}

// stop ends the work and waits for it. It may be called when there is none. What is started later goes on.
func (c *crew) stop() error {
	c.mu.Lock()
	if c.cancel != nil {
		c.cancel()
	}
	c.work, c.cancel = nil, nil
	c.mu.Unlock()
	c.wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.err
	c.err = nil
	return err
}
