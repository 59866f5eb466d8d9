package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/deployment"
	"github.com/tideover/tideover/plan"
)

// job is a batch job of the operator's, which writes to blue's database past router and server. It ends a session in a
// transaction that it began before the fence and commits as late as it may: when the fence waits for it. A fence that waits for
// nobody lets it commit after the last replay, and the session lives on green.
type job struct {
	dsn     string
	session elder // that it ends
	end     []string

	mu        sync.Mutex
	conn      *pgx.Conn
	tx        pgx.Tx
	committed bool
	err       error
	over      chan struct{} // closed when it has come to its end; nil: it has not begun
	leave     chan struct{} // closed when the switch is past the last replay: nobody waited
}

// endings are statements that end the session of a refresh token, by its signature.
var endings = map[deployment.Servers][]string{
	deployment.Bundled: {
		`DELETE FROM oauth_access WHERE request_id = (SELECT request_id FROM oauth_refresh WHERE signature = $1)`,
		`UPDATE oauth_refresh SET active = false WHERE active AND request_id = (SELECT request_id FROM oauth_refresh WHERE signature = $1)`,
	},
	deployment.Hydra: {
		`DELETE FROM hydra_oauth2_access WHERE request_id = (SELECT request_id FROM hydra_oauth2_refresh WHERE signature = $1)`,
		`UPDATE hydra_oauth2_refresh SET active = false WHERE active AND request_id = (SELECT request_id FROM hydra_oauth2_refresh WHERE signature = $1)`,
	},
}

func newJob(d *deployment.Deployment, servers deployment.Servers, session elder) *job {
	return &job{dsn: d.BlueDSN, session: session, end: endings[servers]}
}

// signature is how the servers' databases call a refresh token.
func (j *job) signature(servers deployment.Servers) string {
	if servers == deployment.Hydra {
		_, signature, _ := strings.Cut(j.session.Refresh, ".")
		return signature
	}
	return authserver.Signature(j.session.Refresh)
}

// sink begins the job just before the fence goes up: an event is shown before what it announces begins.
func (j *job) sink(ctx context.Context, servers deployment.Servers, kindOf func(step string) string) journal.Sink {
	return func(e journal.Event) {
		if kindOf(e.Step) != string(plan.Cutover) {
			return
		}
		switch e.Kind {
		case journal.CutoverFencing:
			if j.over == nil {
				j.begin(ctx, j.signature(servers))
			}
		case journal.CutoverCommitting, journal.CutoverAborting:
			if j.over != nil {
				select {
				case <-j.leave:
				default:
					close(j.leave)
				}
			}
		}
	}
}

const ofJob = "nightly job"

func (j *job) begin(ctx context.Context, signature string) {
	j.over, j.leave = make(chan struct{}), make(chan struct{})
	fail := func(err error) {
		j.err = fmt.Errorf("a job that writes past the router: %w", err)
		close(j.over)
	}
	config, err := pgx.ParseConfig(j.dsn)
	if err != nil {
		fail(err)
		return
	}
	config.RuntimeParams["application_name"] = ofJob
	if j.conn, err = pgx.ConnectConfig(ctx, config); err != nil {
		fail(err)
		return
	}
	if j.tx, err = j.conn.Begin(ctx); err != nil {
		fail(err)
		return
	}
	for _, sql := range j.end {
		if _, err := j.tx.Exec(ctx, sql, signature); err != nil {
			fail(err)
			return
		}
	}
	pid := j.conn.PgConn().PID()
	go func() {
		defer close(j.over)
		defer j.conn.Close(context.WithoutCancel(ctx))
		err := j.waitedFor(ctx, pid)
		if err == nil {
			err = j.tx.Commit(ctx)
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		j.committed, j.err = err == nil, err
	}()
}

// waitedFor returns when somebody waits for the job's transaction, or when nobody has.
func (j *job) waitedFor(ctx context.Context, pid uint32) error {
	look, err := pgx.Connect(ctx, j.dsn)
	if err != nil {
		return err
	}
	defer look.Close(context.WithoutCancel(ctx))
	for {
		var waits bool
		const sql = `SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE NOT l.granted AND $1 = ANY (pg_catalog.pg_blocking_pids(l.pid)))`
		if err := look.QueryRow(ctx, sql, int32(pid)).Scan(&waits); err != nil || waits {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-j.leave:
			return nil
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// ended gives the session as it must be: dead where the job has committed, else as it was.
func (j *job) ended(ctx context.Context) (elder, error) {
	if j.over == nil {
		return j.session, nil // there was no switch
	}
	select {
	case <-j.over:
	case <-ctx.Done():
		return j.session, context.Cause(ctx)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil && !errors.Is(j.err, context.Canceled) {
		return j.session, j.err
	}
	session := j.session
	if j.committed {
		session.death = "ended by a job whose transaction was open when the fence went up"
		session.before = meaning{IntrospectedBy: session.before.IntrospectedBy, Consents: session.before.Consents, Consent: session.before.Consent}
	}
	return session, nil
}
