package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/tideover/tideover/internal/lab/deployment"
)

// Exit codes, the same for every command.
const (
	ExitDone        = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitHeld        = 3   // held by another process
	ExitStopped     = 4   // stopped safely before the point of no return
	ExitDiffer      = 5   // blue and green differ
	ExitInterrupted = 130 // Ctrl-C
)

// Main runs the command line and returns the exit code.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if os.Getenv(deployment.ExitWithStdin) != "" {
		ctx = untilEOF(ctx, os.Stdin)
	}
	std := &IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.LookupEnv,
		IsTerminal: term.IsTerminal(int(os.Stdout.Fd())) && term.IsTerminal(int(os.Stdin.Fd()))}
	root := NewRootCmd(std)
	root.SetArgs(args)
	return Report(std.Err, root.ExecuteContext(ctx))
}

// Report prints an error with its hint and returns the exit code that it stands for.
func Report(w io.Writer, err error) int {
	if err == nil {
		return ExitDone
	}
	var quiet *quietError
	if !errors.As(err, &quiet) {
		fmt.Fprintf(w, "error: %s\n", err)
		if hint := hintOf(err); hint != "" {
			fmt.Fprintf(w, "hint: %s\n", strings.ReplaceAll(hint, "\n", "\nhint: "))
		}
	}
	var coded interface{ ExitCode() int }
	switch {
	case errors.As(err, &coded):
		return coded.ExitCode()
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	}
	return ExitFailed
}

// hintOf finds the hint nearest to the outside of an error.
func hintOf(err error) string {
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		return hinted.Hint()
	}
	return ""
}

// usageError is a command line that can't be meant.
type usageError struct{ error }

func (usageError) ExitCode() int   { return ExitUsage }
func (e usageError) Unwrap() error { return e.error }

func usageErrorf(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// quietError carries an exit code for something that was already said.
type quietError struct{ code int }

func (e *quietError) Error() string { return fmt.Sprintf("exit code %d", e.code) }
func (e *quietError) ExitCode() int { return e.code }

// untilEOF returns a context that ends when r does: the owner of this process holds the other end.
func untilEOF(ctx context.Context, r io.Reader) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, r) // an end by an error is an end too
		cancel(errors.New("the owner of this process has ended"))
	}()
	return ctx
}
