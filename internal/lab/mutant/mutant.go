// Package mutant makes mistakes on purpose, from outside: it builds the tests of a package, or a program, from a source
// in which a few lines read otherwise. What runs in production has no trace of it.
//
// A [Mutant] is data: which text of which file becomes which. The files themselves stay as they are; the compiler is
// given changed copies (go help build, -overlay).
package mutant

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// Edit replaces Old, which must be in File once, by New. File is relative to the package's directory.
type Edit struct{ File, Old, New string }

// Mutant is a source with edits, made in their order.
type Mutant struct {
	Name  string
	Edits []Edit
}

// With is the mutant with the edits of another before its own.
func (m Mutant) With(other Mutant) Mutant {
	m.Edits = append(append([]Edit(nil), other.Edits...), m.Edits...)
	return m
}

// StaleError says that an edit does not fit the source any more.
type StaleError struct {
	Mutant, File, Old string
	Found             int // how often Old is there
}

func (e *StaleError) Error() string {
	return fmt.Sprintf("mutant %q has gone stale: %s has %d places that read %q, want one", e.Mutant, e.File, e.Found, e.Old)
}

// Hint says what to do.
func (e *StaleError) Hint() string {
	return "the source has changed under the mutant: say in its edit how that place reads now, and what mistake it is to be there"
}

// BuildError says that a mutant does not compile. It is then no mutant: nothing has seen it and nothing has missed it.
type BuildError struct {
	Mutant, Output string
	Err            error
}

func (e *BuildError) Error() string {
	return fmt.Sprintf("mutant %q does not compile: %v\n%s", e.Mutant, e.Err, e.Output)
}

func (e *BuildError) Unwrap() error { return e.Err }

// Files gives the files that the mutant changes, by their path.
func (m Mutant) Files(dir string) (map[string][]byte, error) {
	files := make(map[string][]byte)
	for _, e := range m.Edits {
		path := filepath.Join(dir, e.File)
		text, read := files[path]
		if !read {
			var err error
			if text, err = os.ReadFile(path); err != nil {
				return nil, fmt.Errorf("mutant %q: %w", m.Name, err)
			}
		}
		if n := bytes.Count(text, []byte(e.Old)); n != 1 {
			return nil, &StaleError{Mutant: m.Name, File: e.File, Old: e.Old, Found: n}
		}
		files[path] = bytes.Replace(text, []byte(e.Old), []byte(e.New), 1)
	}
	return files, nil
}

// BuildTest compiles the test binary of the package in dir with the mutant in it. The error is a [*StaleError] or a
// [*BuildError] where the mutant is to blame.
func (m Mutant) BuildTest(ctx context.Context, dir, out string) error {
	return m.build(ctx, dir, out, "test", "-c")
}

// Build is BuildTest for the program whose main package is in pkg, an import path or a directory as the go command
// takes them in dir. The edits' files are relative to dir.
func (m Mutant) Build(ctx context.Context, dir, pkg, out string) error {
	return m.build(ctx, dir, out, "build", pkg)
}

// building lets one build run at a time: each takes all processors.
var building sync.Mutex

func (m Mutant) build(ctx context.Context, dir, out, command string, last ...string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("mutant %q: %w", m.Name, err)
	}
	files, err := m.Files(dir)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "tideover-mutant-")
	if err != nil {
		return fmt.Errorf("mutant %q: %w", m.Name, err)
	}
	defer os.RemoveAll(work)
	overlay, err := writeOverlay(work, files)
	if err != nil {
		return fmt.Errorf("mutant %q: %w", m.Name, err)
	}
	building.Lock()
	defer building.Unlock()
	args := append([]string{command, "-overlay", overlay, "-ldflags=-w", "-o", out}, last...) // nobody debugs it: linking is half the time
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	output, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("mutant %q: %w", m.Name, context.Cause(ctx))
	case err != nil:
		return &BuildError{Mutant: m.Name, Output: strings.TrimSpace(string(output)), Err: err}
	}
	return nil
}

// writeOverlay writes the changed copies into work, and the file that tells the compiler of them.
func writeOverlay(work string, files map[string][]byte) (path string, err error) {
	overlay := struct{ Replace map[string]string }{make(map[string]string)}
	for original, text := range files {
		changed := filepath.Join(work, fmt.Sprintf("%d.go", len(overlay.Replace)))
		if err := os.WriteFile(changed, text, 0o600); err != nil {
			return "", err
		}
		overlay.Replace[original] = changed
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	path = filepath.Join(work, "overlay.json")
	return path, os.WriteFile(path, text, 0o600)
}
