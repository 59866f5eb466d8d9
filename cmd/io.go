// Package cmd is the command line: one file per command. Only this package turns errors into text and exit codes.
package cmd

import "io"

// IO is what a command reads and writes. Out is the answer; Err is everything else. A test can fake it.
type IO struct {
	In         io.Reader
	Out, Err   io.Writer
	IsTerminal bool // Out and In are a terminal: a TUI, prompts and colours are welcome
}
