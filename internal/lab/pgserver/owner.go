package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	dirPrefix = "tideover-pg-" // then the server's name and a random word
	ownerFile = "owner"        // locked (flock) for as long as the owning process lives
)

// owner ties a directory, and what belongs to it, to the life of this process.
//
// The lock on the owner file says "alive" to the sweeps of other processes. It is released by the kernel,
// cannot be confused by a reused process id, and works across the pid namespaces of containers that have one
// /tmp in common. The pipe says "gone" to the watchdog.
type owner struct {
	dir  string
	lock *os.File
	pipe *os.File  // our end; the kernel closes it when we end
	dog  *exec.Cmd // leader of the process group that everything of this owner joins
}

// newOwner starts the watchdog of a directory, then makes and locks the directory: there is no moment at which it
// exists and nobody would remove it. The watchdog is /bin/sh with the given script, whose $1 is the directory and
// $2… the further arguments.
func newOwner(dir string, a account, script string, env []string, args ...string) (_ *owner, err error) {
	o := &owner{dir: dir}
	if err := o.watch(script, env, args); err != nil {
		return nil, err
	}
	if err := os.Mkdir(o.dir, 0o700); err != nil {
		_ = o.dog.Process.Kill() // before its pipe ends: the directory is somebody else's
		return nil, errors.Join(err, o.release())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.release(), os.RemoveAll(o.dir))
		}
	}()
	if o.lock, err = lockOwner(o.dir); err != nil {
		return nil, err
	}
	if err := a.own(o.dir); err != nil {
		return nil, fmt.Errorf("hand %s to user %d: %w", o.dir, a.uid, err)
	}
	return o, nil
}

// watch starts the watchdog.
func (o *owner) watch(script string, env, args []string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	// No context ends the watchdog: it ends with the pipe.
	dog := exec.CommandContext(context.Background(), "/bin/sh", append([]string{"-c", script, "tideover-watchdog", o.dir}, args...)...)
	dog.Stdin, dog.Dir, dog.Env = r, "/", append(os.Environ(), env...)
	// A group of its own: Ctrl-C in the terminal reaches us and not the servers that we still need.
	dog.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := dog.Start(); err != nil {
		return errors.Join(fmt.Errorf("start the watchdog of %s: %w", o.dir, err), w.Close())
	}
	o.pipe, o.dog = w, dog
	return nil
}

// lockOwner creates the owner file so that no sweep ever sees it unlocked: it gets its name when it is locked.
func lockOwner(dir string) (*os.File, error) {
	path := filepath.Join(dir, ownerFile)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(f, "pid %d since %s\n", os.Getpid(), time.Now().UTC().Format(time.RFC3339))
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return f, nil
}

// join puts a command into the watchdog's process group, before it is executed: there is no moment at which it
// runs and the watchdog does not know of it.
func (o *owner) join(cmd *exec.Cmd, a account) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: o.dog.Process.Pid, Credential: a.credential()}
}

// release lets go, by the same end-of-file that our death would give, and waits until the watchdog has stopped
// the group and removed the directory.
func (o *owner) release() error {
	var errs []error
	if o.pipe != nil {
		errs = append(errs, o.pipe.Close())
	}
	if o.dog != nil {
		_ = o.dog.Wait() // it ends by killing its whole group, itself included
	}
	if o.lock != nil {
		errs = append(errs, o.lock.Close())
	}
	return errors.Join(errs...)
}
