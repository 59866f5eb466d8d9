package snapshot

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// tempDir is a folder for a dump. A process that is killed leaves its own behind; the next one removes it: a folder is
// somebody's for as long as its file "owner" is locked, and the system unlocks the files of the dead.
type tempDir struct {
	path  string
	owner *os.File
}

const tempPattern = "tideover-snapshot-*"

func newTempDir() (*tempDir, error) {
	sweepTempDirs()
	for {
		d, err := lockedTempDir()
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(filepath.Join(d.path, "owner")); err == nil {
			return d, nil
		}
		d.remove() // another process has taken it for a dead one's before it was locked
	}
}

func lockedTempDir() (*tempDir, error) {
	path, err := os.MkdirTemp("", tempPattern)
	if err != nil {
		return nil, err
	}
	owner, err := os.Create(filepath.Join(path, "owner"))
	if errors.Is(err, os.ErrNotExist) {
		return &tempDir{path: path}, nil // it is gone already
	}
	if err == nil {
		err = syscall.Flock(int(owner.Fd()), syscall.LOCK_EX) // who removes it holds it for a moment
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(path))
	}
	return &tempDir{path, owner}, nil
}

// sweepTempDirs removes the folders of the dead. What can't be removed, such as another user's, is left.
func sweepTempDirs() {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), tempPattern)) // the pattern is a constant and well formed
	for _, dir := range left {
		owner, err := os.OpenFile(filepath.Join(dir, "owner"), os.O_RDWR, 0)
		if err != nil {
			continue // just being made, or another user's
		}
		if syscall.Flock(int(owner.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(dir)
		}
		_ = owner.Close()
	}
}

func (d *tempDir) remove() {
	_ = os.RemoveAll(d.path)
	if d.owner != nil {
		_ = d.owner.Close()
	}
}
