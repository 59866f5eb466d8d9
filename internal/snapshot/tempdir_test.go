package snapshot

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTempDirsOfTheDeadAreRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dead, err := newTempDir()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dead.path, "schema.dump"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	dead.owner.Close() // what the system does for a process that is killed
	alive, err := newTempDir()
	if err != nil {
		t.Fatal(err)
	}
	defer alive.remove()
	third, err := newTempDir()
	if err != nil {
		t.Fatal(err)
	}
	defer third.remove()
	if _, err := os.Stat(dead.path); !os.IsNotExist(err) {
		t.Errorf("the folder of the dead is still there: %v", err)
	}
	for _, d := range []*tempDir{alive, third} {
		if _, err := os.Stat(d.path); err != nil {
			t.Errorf("the folder of the living: %v", err)
		}
	}
}
