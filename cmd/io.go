// Package cmd is the command line: one file per command. Only this package turns errors into text and exit codes.
package cmd

import "io"

// IO is what a command reads and writes. Out is the answer; Err is everything else. A test can fake it, the environment
// included: no command asks the process for the variables that its help names.
type IO struct {
	In         io.Reader
	Out, Err   io.Writer
	Env        func(name string) (value string, set bool)
	IsTerminal bool // Out and In are a terminal: a TUI, prompts and colours are welcome
}

// variable is an environment variable's value; "" where it is not set.
func (std *IO) variable(name string) string {
	value, _ := std.Env(name)
	return value
}
