package cmd

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// enduring is a context for work on a run. A terminal that is lost (SIGHUP) stops it safely, as Ctrl-C does, unless whoever started
// us has SIGHUP ignored (nohup). An output that nobody reads any more (SIGPIPE) does not end the process: the journal, and not
// who watches, is what a run needs. Programs that we start get both signals as usual.
func enduring(ctx context.Context) (context.Context, context.CancelFunc) {
	unread := make(chan os.Signal, 1)
	signal.Notify(unread, syscall.SIGPIPE)
	ctx, stop := context.WithCancel(ctx)
	unhook := func() {}
	if !signal.Ignored(syscall.SIGHUP) {
		ctx, unhook = signal.NotifyContext(ctx, syscall.SIGHUP)
	}
	return ctx, func() {
		stop()
		unhook()
		signal.Stop(unread)
	}
}
