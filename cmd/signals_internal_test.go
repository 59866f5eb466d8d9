package cmd

import (
	"os/signal"
	"syscall"
	"testing"
)

// A lost terminal stops a run safely.
func TestSIGHUPIsASafeStop(t *testing.T) {
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("whoever started this has SIGHUP ignored")
	}
	ctx, stop := enduring(t.Context())
	defer stop()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if t.Context().Err() != nil {
		t.Error("more has ended than the work")
	}
}
