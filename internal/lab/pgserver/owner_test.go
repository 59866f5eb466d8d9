package pgserver

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// A directory that is there already belongs to somebody else: whoever can't have it leaves it as it is.
func TestOwnerLeavesADirectoryOfOthers(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "theirs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(dir, "data")
	if err := os.WriteFile(theirs, []byte("rows"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := newOwner(dir, account{}, localWatchdog, nil)
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if got, err := os.ReadFile(theirs); err != nil || string(got) != "rows" {
		t.Errorf("their file is %q, %v", got, err)
	}
}
