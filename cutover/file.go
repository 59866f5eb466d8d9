package cutover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/plan"
)

// fileParticipant is a file whose content says which side is meant. It is replaced in one step, so that a reader sees
// one content or the other. Beside it, PATH.tideover keeps the newest term of each run: a call that comes late, from a
// process that has lost the run, is refused.
type fileParticipant struct {
	base
	spec *plan.FileSpec
}

func newFile(b base, spec *plan.FileSpec) (Participant, error) {
	if spec.Blue == spec.Green {
		return nil, errors.New("blue and green have the same content: nobody could tell the sides apart")
	}
	return &fileParticipant{base: b, spec: spec}, nil
}

// Prepare wants blue's content, so that nobody's own changes are overwritten, and a folder that can be written to.
func (p *fileParticipant) Prepare(ctx context.Context, t Ticket) error {
	return p.fenced(ctx, t, func() error {
		content, err := os.ReadFile(p.spec.Path)
		if err != nil {
			return err
		}
		if string(content) != p.spec.Blue {
			return fmt.Errorf("%s: its content is not what the runbook gives for blue", p.spec.Path)
		}
		return nil
	})
}

func (p *fileParticipant) Commit(ctx context.Context, t Ticket) error {
	return p.fenced(ctx, t, func() error { return p.become(p.spec.Green) })
}

func (p *fileParticipant) Abort(ctx context.Context, t Ticket) error {
	return p.fenced(ctx, t, func() error { return p.become(p.spec.Blue) })
}

func (p *fileParticipant) Side(context.Context, Ticket) (plan.Side, error) {
	content, err := os.ReadFile(p.spec.Path)
	if err != nil {
		return "", err
	}
	switch string(content) {
	case p.spec.Blue:
		return plan.Blue, nil
	case p.spec.Green:
		return plan.Green, nil
	}
	return "", nil
}

func (p *fileParticipant) become(content string) error {
	before, err := os.ReadFile(p.spec.Path)
	if err != nil {
		return err
	}
	if string(before) == content {
		return nil
	}
	if string(before) != p.spec.Blue && string(before) != p.spec.Green {
		return fmt.Errorf("%s: its content is neither blue's nor green's: somebody else has written it", p.spec.Path)
	}
	return replaceFile(p.spec.Path, []byte(content))
}

// replaceFile puts content in the place of a file, with its mode and owner, and returns when that would survive a
// power cut.
func replaceFile(path string, content []byte) error {
	mode, owner := fs.FileMode(0o600), (*syscall.Stat_t)(nil)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
		owner, _ = info.Sys().(*syscall.Stat_t)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Chmod(mode))
	if owner != nil && int(owner.Uid) != os.Getuid() {
		err = errors.Join(err, tmp.Chown(int(owner.Uid), int(owner.Gid)))
	}
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// fenced does f under a lock, after checking the ticket against the newest term heard and remembering it.
func (p *fileParticipant) fenced(ctx context.Context, t Ticket, f func() error) error {
	path := p.spec.Path + ".tideover"
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := p.locked(ctx, lock); err != nil {
		return err
	}
	terms := map[string]int64{}
	raw, err := os.ReadFile(path)
	if err == nil {
		if err := json.Unmarshal(raw, &terms); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if heard := terms[t.Run]; t.Term < heard {
		return fmt.Errorf("%s: run %s: term %d, but %d was heard: %w", p.spec.Path, t.Run, t.Term, heard, router.ErrStale)
	} else if t.Term > heard {
		terms[t.Run] = t.Term
		if raw, err = json.Marshal(terms); err != nil {
			return err
		}
		if err := replaceFile(path, raw); err != nil {
			return err
		}
	}
	return f()
}

// locked waits for the lock. A program that we start shares it for the moment between fork and exec, so that somebody
// may hold it although no other tideover is there.
func (p *fileParticipant) locked(ctx context.Context, lock *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	for {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		t := time.NewTimer(5 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("%s: another process is changing it: %w", p.spec.Path, err)
		}
	}
}
