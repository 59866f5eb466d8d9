package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/tui"
)

// NewWatchCmd is tideover watch.
func NewWatchCmd(std *IO) *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "watch [RUNBOOK]",
		Short: "Show a run on this terminal while another process works on it",
		Long: `Watch shows the screen of tideover run on another terminal: it folds the journal. The key a opens a gate, as tideover approve does; q
leaves the screen, and the run goes on. Without a terminal it prints the events, as tideover status --watch does. What routers,
fences and servers say, tideover status asks.
` + targetHelp,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			path, _, err := f.split(std, c, args, 0, "one runbook")
			if err != nil {
				return err
			}
			t, err := f.open(c.Context(), std, path, true)
			if err != nil {
				return err
			}
			defer t.close()
			if f.json || f.noTUI || !std.IsTerminal {
				return follow(c.Context(), std, f, t.j, t.run)
			}
			return watch(c.Context(), std, t)
		},
	}
	f.add(c, true)
	return c
}

const progressEvery = time.Second

func watch(ctx context.Context, std *IO, t *target) error {
	state, err := t.state(ctx)
	if err != nil {
		return err
	}
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	var approving sync.WaitGroup
	defer approving.Wait()
	screen := tui.New(tui.Options{In: std.In, Out: std.Out, Title: state.Name, State: state, Leave: leave, Approve: func(step string) {
		approving.Go(func() {
			limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), askWithin)
			defer cancel()
			_ = t.j.Approve(limited, t.run.ID, step, person(), hostName(), "a key of tideover watch") // the gate goes on waiting, and the screen shows it
		})
	}})
	var all sync.WaitGroup
	var followed error
	if state.Phase.Ended() {
		screen.Finish("")
	} else {
		all.Go(func() {
			defer screen.Finish("")
			followed = t.j.Follow(ctx, t.run.ID, state.Seq, followEvery, func(e journal.Event) error { screen.Sink()(e); return nil })
		})
		all.Go(func() { showProgress(ctx, t, screen.Sink()) })
	}
	err = screen.Run(ctx)
	leave()
	all.Wait()
	for _, err := range []error{followed, err} {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return nil
}

// showProgress shows what the process at work keeps of its progress.
func showProgress(ctx context.Context, t *target, sink journal.Sink) {
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	var shown time.Time
	for {
		if p, err := t.j.Progress(ctx, t.run.ID); err == nil && p != nil && p.Time.After(shown) {
			if data, err := json.Marshal(p.Data); err == nil {
				shown = p.Time
				sink(journal.Event{Time: p.Time, Run: t.run.ID, Step: p.Step, Kind: journal.StepProgress, Data: data})
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
