package cmd

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
)

// A lost terminal stops a run safely.
func TestSIGHUPIsASafeStop(t *testing.T) {
	heard := make(chan os.Signal, 1) // whoever started this, such as nohup, may have it ignored: it is listened to from here on
	signal.Notify(heard, syscall.SIGHUP)
	defer signal.Stop(heard)
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
