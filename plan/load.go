package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

// maxSteps is far more than anybody follows.
const maxSteps = 100

// LoadRunbook reads a runbook. env looks up environment variables (os.LookupEnv); nil: none is set. The error is an
// Errors with every mistake of the file, or an *Error if the file can't be read.
func LoadRunbook(path string, env func(string) (string, bool)) (*Runbook, error) {
	data, err := read(path, "`tideover init` writes a runbook to start from")
	if err != nil {
		return nil, err
	}
	rb, err := ParseRunbook(path, data, env)
	if err != nil {
		return nil, err
	}
	rb.Path = path
	return rb, nil
}

// ParseRunbook is LoadRunbook for bytes; name stands for the file in errors.
func ParseRunbook(name string, data []byte, env func(string) (string, bool)) (*Runbook, error) {
	root, err := document(name, data)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	rb := &Runbook{Hash: hex.EncodeToString(sum[:]), literal: literalPassword.Match(data)}
	d := newDecoder(name, env)
	if !d.root(root, reflect.ValueOf(rb).Elem(), "a runbook begins with `version: 1`") {
		return nil, d.errs
	}
	if len(rb.Steps) > maxSteps {
		d.add("steps", "is this the right file?", "has %d steps, more than %d", len(rb.Steps), maxSteps)
		return nil, d.errs.orNil()
	}
	rb.settle(d, name)
	d.checkSides(rb)
	d.checkNotify(rb)
	d.checkSteps(rb)
	d.checkOrder(rb)
	if err := d.errs.orNil(); err != nil {
		return nil, err
	}
	rb.keep(name, data)
	return rb, nil
}

// settle gives what the text leaves out its value.
func (rb *Runbook) settle(d *decoder, name string) {
	if rb.Name == "" {
		rb.Name = strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))
	}
	d.name(rb.Steps)
	for _, s := range []*Service{&rb.Blue, &rb.Green} {
		if s.Role == "" {
			s.Role = s.ServerRole
		}
	}
}

// Resolve makes a path of the runbook absolute or relative to the working directory, as the runbook's own path is.
func (rb *Runbook) Resolve(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(rb.Path), path)
}

// Step is the first step of a kind, or nil.
func (rb *Runbook) Step(kind StepKind) *StepSpec {
	for i := range rb.Steps {
		if rb.Steps[i].Kind == kind {
			return &rb.Steps[i]
		}
	}
	return nil
}

// InPlace says that blue itself is migrated and there is no green.
func (rb *Runbook) InPlace() bool {
	for _, s := range rb.Steps {
		if m, ok := s.Config.(*MigrateSpec); ok && m.Target == "live" {
			return true
		}
	}
	return false
}

// read reads a file, but no more of it than is needed to say that it is too large.
func read(path, way string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err, way)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, unreadable(path, err, way)
	}
	return data, nil
}

func unreadable(path string, err error, way string) error {
	e := &Error{File: path, Msg: "cannot be read"}
	var at *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Msg, e.Way = "there is no such file", way
	case errors.As(err, &at):
		e.Msg = fmt.Sprintf("cannot be read: %v", at.Err)
	}
	return e
}
