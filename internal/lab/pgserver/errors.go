package pgserver

import (
	"errors"
	"fmt"
	"strings"
)

// StartError says that no source gave a server. Unwrap leads to the errors of all attempts.
type StartError struct {
	Name  string
	Tried []Attempt // in the order tried
}

// Attempt is one source that was tried in vain.
type Attempt struct {
	Source Origin
	Err    error
}

func (e *StartError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "start postgres %q", e.Name)
	for i, t := range e.Tried {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%s: %v", sep, t.Source, t.Err)
	}
	return b.String()
}

func (e *StartError) Unwrap() []error {
	errs := make([]error, len(e.Tried))
	for i, t := range e.Tried {
		errs[i] = t.Err
	}
	return errs
}

// Hint says what a person can do: the hint of each attempt that has one, or the ways in general.
func (e *StartError) Hint() string {
	var hints []string
	for _, t := range e.Tried {
		var h interface{ Hint() string }
		if errors.As(t.Err, &h) {
			hints = append(hints, h.Hint())
		}
	}
	if len(hints) == 0 {
		o := Options{Name: e.Name}
		return fmt.Sprintf("install Postgres, start a Docker engine, or set %s to the DSN of a server whose databases may be dropped", o.variable())
	}
	return strings.Join(hints, "; or ")
}

// because explains a choice by what was tried before it.
func (e *StartError) because() string {
	var b strings.Builder
	for _, t := range e.Tried {
		fmt.Fprintf(&b, "; not %s: %s", t.Source, strings.ReplaceAll(t.Err.Error(), "\n", " "))
	}
	return b.String()
}

// hinted is an error with a way on.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }
func (h hinted) Hint() string  { return h.hint }
