// Package plan reads what a person wrote: the runbook and the profile. It is pure: it opens no connection and changes
// nothing. Every error names file, line, column and field, and the way on.
package plan

import (
	"time"
)

// Runbook says what is to be done. It never changes during a run: its hash is kept in the journal.
type Runbook struct {
	Version int        `yaml:"version"` // 1
	Name    string     `yaml:"name"`
	Profile string     `yaml:"profile"` // "bundled", "hydra" or a path relative to the runbook
	Blue    Service    `yaml:"blue"`
	Green   Service    `yaml:"green"`
	Control Control    `yaml:"control"` // where the journal lives; default: blue's database
	Router  *Router    `yaml:"router"`
	Locks   LockBudget `yaml:"locks"`
	Notify  []Notify   `yaml:"notify"`
	Steps   []StepSpec `yaml:"steps"`

	Path string `yaml:"-"` // as the user gave it
	Hash string `yaml:"-"` // SHA-256 in hex of the file's bytes, before ${ENV} is filled in

	// Content is the SHA-256 in hex of what the file says, before ${ENV} is filled in and without literal passwords: comments,
	// white space and the order of keys don't count.
	Content string `yaml:"-"`
	Kept    Kept   `yaml:"-"` // the text for the journal

	literal bool // a connection string has its password in the file
}

// Service is one database and its server.
type Service struct {
	DSN    string `yaml:"dsn"`
	Public string `yaml:"public"` // base URL of the server's public listener
	Admin  string `yaml:"admin"`  // base URL of the server's admin listener
	// Role is what the OAuth server connects as. Green's ends with what blue's has. Empty: taken to be the owner of blue's tables.
	Role string `yaml:"role"`
	// ServerRole is the older name of Role, which has its value.
	ServerRole string `yaml:"server_role"`
}

// Control is the database of the journal.
type Control struct {
	DSN string `yaml:"dsn"`
}

// Router is how the router's replicas are reached.
type Router struct {
	Admin []string `yaml:"admin"` // base URLs of the replicas' admin listeners
	Token string   `yaml:"token"`
}

// LockBudget bounds what live traffic feels (G7).
type LockBudget struct {
	Timeout time.Duration `yaml:"timeout"` // one lock attempt
	Retry   time.Duration `yaml:"retry"`   // how long attempts go on
}

// StepSpec is one stage of the runbook. Config is the kind's own fields: a pointer to a struct, such as *CaptureSpec.
type StepSpec struct {
	ID      string // default: the kind, with -2, -3 for repeats
	Kind    StepKind
	Approve bool
	Config  any
	Line    int
	Column  int
}
