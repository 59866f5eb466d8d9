package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tideover/tideover/internal/postgres"
)

// ErrNotEmpty says that green has tables that no copy of ours put there.
var ErrNotEmpty = errors.New("green is not empty")

type notEmptyError struct{ name string }

func (e *notEmptyError) Error() string {
	return fmt.Sprintf("%s has objects that no copy of ours put there", e.name)
}
func (e *notEmptyError) Is(target error) bool { return target == ErrNotEmpty }
func (e *notEmptyError) Hint() string {
	return "name another database under green.dsn that has nothing in it: what is in this one would be mixed up with the copy"
}

type blindError struct{ name string }

func (e *blindError) Error() string {
	return fmt.Sprintf("our role on %s does not see other roles' sessions and replicas, which max_lag and max_active go by", e.name)
}
func (e *blindError) Hint() string {
	return "GRANT pg_monitor TO our role on blue, or leave max_lag and max_active out of the runbook"
}

// ErrSchemaChanged says that blue's schema is another than when the copy began.
var ErrSchemaChanged = errors.New("blue's schema changed since the copy began")

type schemaChangedError struct{}

func (schemaChangedError) Error() string        { return ErrSchemaChanged.Error() }
func (schemaChangedError) Is(target error) bool { return target == ErrSchemaChanged }
func (schemaChangedError) Hint() string {
	return "green has the schema of before, and cannot be brought to the new one: roll back, which empties green, keep migrations and partition jobs away from blue, and start again"
}

// RewrittenError says that a statement on blue gave a table another file while it was being copied. Its rows were then
// invisible to the copy, or on other pages.
type RewrittenError struct{ Table string }

func (e *RewrittenError) Error() string {
	return fmt.Sprintf("table %s was rewritten on blue during the copy (TRUNCATE, VACUUM FULL, CLUSTER or ALTER TABLE)", e.Table)
}

// Hint says that it can be copied again.
func (e *RewrittenError) Hint() string {
	return "keep such statements away from blue until the copy is over; a resume copies the table again"
}

// sideError is a failure of one of the servers that a person can do something about.
type sideError struct {
	err  error
	hint string
}

func (e *sideError) Error() string { return e.err.Error() }
func (e *sideError) Unwrap() error { return e.err }
func (e *sideError) Hint() string  { return e.hint }

// explain adds to an error of a copy what a person can do about it. Whatever it is, a resume goes on behind the last part that
// is recorded on green.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.As(err, new(interface{ Hint() string })) {
		return err
	}
	code := postgres.Code(err)
	switch {
	case code == pgerrcode.DiskFull:
		return &sideError{err, "give the server's disk more room; nothing that is copied is lost, and a resume goes on from there"}
	case code == pgerrcode.OutOfMemory:
		return &sideError{err, "the server has not memory enough: fewer jobs, or a smaller maintenance_work_mem; a resume goes on from here"}
	case code == pgerrcode.UndefinedTable || code == pgerrcode.UndefinedColumn:
		return &sideError{err, schemaChangedError{}.Hint()}
	case code == pgerrcode.InvalidParameterValue || // of SET TRANSACTION SNAPSHOT: the session that exported it has ended
		strings.HasPrefix(code, "57P") || strings.HasPrefix(code, "08") || code == "" && gone(err):
		return &sideError{err, "the server ended the session, was restarted, or cannot be reached; once it answers, a resume goes on from the last part that is whole"}
	}
	return err
}

// gone says whether err is of the connection rather than of the server.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, new(*net.OpError)) ||
		pgconn.SafeToRetry(err)
}
