package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// unlockedGrace is how long a directory may be without an owner file: its maker is just about to write it.
const unlockedGrace = time.Minute

// sweepDirs removes the directories of owners that are gone, and stops the servers in them. Directories of other
// users are not touched: what lies in a public /tmp is not to tell root whom to kill.
func sweepDirs(parent string, a account) error {
	dirs, err := filepath.Glob(filepath.Join(parent, dirPrefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs {
		if err := sweepDir(dir, a); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", dir, err))
		}
	}
	return errors.Join(errs...)
}

func sweepDir(dir string, a account) error {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() {
		return ignoreGone(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != a.uid && uid != uint32(os.Geteuid()) {
		return nil
	}
	alive, unlock, err := ownerLives(dir)
	if err != nil || alive {
		return ignoreGone(err)
	}
	defer unlock() // held while we work: another sweep leaves it to us
	if err := stopStale(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// ownerLives tries the owner file's lock. When the owner is gone it holds the lock until unlock.
func ownerLives(dir string) (alive bool, unlock func(), err error) {
	f, err := os.Open(filepath.Join(dir, ownerFile))
	if errors.Is(err, fs.ErrNotExist) {
		info, err := os.Stat(dir)
		if err != nil {
			return false, nil, err
		}
		return time.Since(info.ModTime()) < unlockedGrace, func() {}, nil
	}
	if err != nil {
		return false, nil, err
	}
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return true, nil, f.Close()
	case err != nil:
		return false, nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
	}
	return false, func() { _ = f.Close() }, nil
}

// stopStale stops the postmaster of a directory whose owner is gone. The process id in postmaster.pid may long be
// somebody else's: only a process that works in this very data directory is stopped.
func stopStale(dir string) error {
	data := filepath.Join(dir, "data")
	b, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return ignoreGone(err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 1 {
		return nil
	}
	for deadline := time.Now().Add(10 * time.Second); worksIn(pid, data); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("postmaster %d does not stop", pid)
		}
		if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop postmaster %d: %w", pid, err)
		}
	}
	return nil
}

// worksIn tells whether a living process is the postmaster of a data directory. A zombie works nowhere.
func worksIn(pid int, data string) bool {
	if runtime.GOOS == "linux" {
		cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
		return err == nil && cwd == data
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	args, err := exec.CommandContext(ctx, "ps", "-o", "args=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.Contains(string(args), "-D "+data)
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
