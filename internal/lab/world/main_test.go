package world_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/world"
)

// pair is shared by all worlds of the test binary: each has databases of its own there.
var pair world.Pair

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() { // which leaves all worlds out
		os.Exit(m.Run())
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tideover-world-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	pair = world.Pair{Dir: dir, Binary: filepath.Join(dir, "tideover"), Keep: os.Getenv("TIDEOVER_WORLD_KEEP") != ""}
	build := exec.Command("go", "build", "-o", pair.Binary, "github.com/tideover/tideover/cmd/tideover")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the program:", err)
		return 1
	}
	for name, server := range map[string]**pgserver.Server{"blue": &pair.Blue, "green": &pair.Green} {
		s, err := pgserver.Start(context.Background(), pgserver.Options{Name: name, Memory: true})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer s.Close()
		*server = s
	}
	return m.Run()
}
