package router

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tideover/tideover/plan"
)

// stored is what survives a restart: the side that serves, and the highest term heard of each run. A hold does not
// survive: held connections are gone with the process, and nobody may wait for a tideover that could be gone as well.
type stored struct {
	Version int              `json:"version"`
	Side    plan.Side        `json:"side"`
	Terms   map[string]int64 `json:"terms"`
	Runs    []string         `json:"runs"` // keys of Terms, the last one heard last
}

// keptRuns bounds Terms: a process of a run so long ago has been stopped by its own lease.
const keptRuns = 64

func (s stored) withTerm(o Order) stored {
	next := stored{Version: 1, Side: s.Side, Terms: map[string]int64{o.Run: o.Term}}
	for _, run := range s.Runs {
		if run != o.Run {
			next.Runs = append(next.Runs, run)
		}
	}
	next.Runs = append(next.Runs, o.Run)
	next.Runs = next.Runs[max(0, len(next.Runs)-keptRuns):]
	for _, run := range next.Runs {
		if run != o.Run {
			next.Terms[run] = s.Terms[run]
		}
	}
	return next
}

func (s stored) withSide(side plan.Side) stored {
	s.Side = side
	return s
}

// store keeps the state in a file. It holds a lock beside the file for its whole life, so that two routers can't take
// turns in overwriting each other.
type store struct {
	path string
	lock *os.File
}

func openStore(path string) (*store, stored, error) {
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, stored{}, fmt.Errorf("router: state %s: %w", path, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, stored{}, fmt.Errorf("router: state %s: in use by another router: %w", path, err)
	}
	s := &store{path: path, lock: lock}
	state, err := s.load()
	if err != nil {
		s.close()
		return nil, stored{}, err
	}
	return s, state, nil
}

func (s *store) load() (stored, error) {
	raw, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return stored{Version: 1, Side: plan.Blue, Terms: map[string]int64{}}, nil
	}
	if err != nil {
		return stored{}, fmt.Errorf("router: state: %w", err)
	}
	var state stored
	if err := json.Unmarshal(raw, &state); err != nil || state.Version != 1 || (state.Side != plan.Blue && state.Side != plan.Green) {
		return stored{}, &StateError{Path: s.path, Err: err}
	}
	if state.Terms == nil {
		state.Terms = map[string]int64{}
	}
	return state, nil
}

// save replaces the file and returns only when the new content would survive a power cut.
func (s *store) save(state stored) error {
	raw, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(s.path)
	tmp, err := os.CreateTemp(dir, filepath.Base(s.path)+".*")
	if err != nil {
		return fmt.Errorf("router: state: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(raw, '\n'))
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), s.path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("router: state: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// close gives the lock back. Further calls do nothing.
func (s *store) close() error {
	if err := s.lock.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// StateError is a state file that can't be read as one. The router does not guess which side serves.
type StateError struct {
	Path string
	Err  error
}

func (e *StateError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("router: state %s: not a router's state", e.Path)
	}
	return fmt.Sprintf("router: state %s: %v", e.Path, e.Err)
}

func (e *StateError) Unwrap() error { return e.Err }

// Hint says what to do about it.
func (e *StateError) Hint() string {
	return `find out which side accepts writes, then put {"version":1,"side":"blue"} or "green" into the file`
}
