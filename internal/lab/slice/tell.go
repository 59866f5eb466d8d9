package slice

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"testing"
)

// leave notes what a test leaves out for the summary at the end of a run: a line of the file that TIDEOVER_LEFT_OUT names.
func leave(t testing.TB, what string) {
	t.Helper()
	name := os.Getenv("TIDEOVER_LEFT_OUT")
	if name == "" || testing.Short() {
		return
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		// One write for the line: other test processes append to the file at the same time.
		_, err = fmt.Fprintf(f, "%s %s: %s\n", folder(), t.Name(), what)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatalf("TIDEOVER_LEFT_OUT: %v", err)
	}
}

// repeatable makes a failure of the test print the command that plays the same again.
func repeatable(t testing.TB, d Today) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("once more: %s", Command(t.Name(), "TIDEOVER_SLICE="+d.String(), "TIDEOVER_SEED="+seed()))
		}
	})
}

// Command is the line that runs one test of this package again, from the top of the repository, as it was built now.
// The environment's variables are of the form NAME=value.
func Command(test string, environment ...string) string {
	parts := strings.Split(test, "/")
	for i, p := range parts {
		parts[i] = "^" + p + "$"
	}
	words := append(environment, "go test -count 1")
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "-race" && s.Value == "true":
				words = append(words, "-race")
			case s.Key == "-tags" && s.Value != "":
				words = append(words, "-tags "+s.Value)
			}
		}
	}
	return strings.Join(append(words, "-run '"+strings.Join(parts, "/")+"'", "./"+folder()), " ")
}

// folder is where the test's package lies in the repository.
func folder() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	path := strings.TrimSuffix(strings.TrimSuffix(info.Path, ".test"), "_test")
	return strings.TrimPrefix(strings.TrimPrefix(path, info.Main.Path), "/")
}
