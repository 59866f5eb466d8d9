// Package migrate brings a database's schema from one version to another: by goose migrations ([Goose]) or by the
// vendor's own command ([Command]).
//
// A run that was killed goes on where it stopped. Offline, files share transactions: sqlrewrite arranges their statements
// for speed, each task is noted as done in its own transaction, and the versions are recorded together when all is done.
// Live, a [ledger] knows how far each file is. The exception are files that say "-- +goose NO TRANSACTION" and need it:
// offline, goose cannot undo half of one, and we never repeat one by ourselves.
//
// goose passes over what it does not understand: names whose number is longer than an int64, names without a number. A
// folder of such files would migrate nothing and report success, so that a folder is checked first.
package migrate

import (
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgerrcode"

	"github.com/tideover/tideover/internal/postgres"
)

// Applied is told of every migration once it is committed: its version, its file, and how long it took.
type Applied func(version int64, file string, took time.Duration)

// Error is a migration that failed. Those before it are in place.
type Error struct {
	Version int64
	File    string
	Err     error
	Whole   bool // the failed file left nothing behind
	Live    bool // the parts of the file that are done are noted: the next run goes on with the failed one
	Noted   bool // as Live, for a database that nobody uses
}

func (e *Error) Error() string { return fmt.Sprintf("migration %s: %v", e.File, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// Hint says what state the database is in, and how to go on.
func (e *Error) Hint() string {
	var hinted interface{ Hint() string }
	if errors.As(e.Err, &hinted) && hinted.Hint() != "" {
		return hinted.Hint()
	}
	if code := postgres.Code(e.Err); code == pgerrcode.UndefinedTable || code == pgerrcode.InvalidSchemaName {
		return e.state() + ". If the file, or one before it, changes search_path (SET, RESET, set_config), names are found no more, goose's table among them: have it end with SET search_path = the server's schema"
	}
	return e.state()
}

func (e *Error) state() string {
	if e.Live {
		return "what is done of the file is noted, and blocks nobody; mend the cause and resume: it goes on with the part that failed"
	}
	if e.Noted {
		return "what is done is noted, and the failed statement's transaction was taken back; mend the cause and resume: it goes on from there"
	}
	if e.Whole {
		return "the file was taken back as a whole and those before it stay; mend the cause and resume"
	}
	return "the file runs without a transaction, so that parts of it may be in place: look (an invalid index, for one), put it right by hand, then resume"
}
