package world

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tideover/tideover/internal/lab/pgserver"
)

// Trace is what code of a world's own roles has seen of the session that it ran in. It goes by the server's log, which has it whatever
// becomes of the transaction, also from a database that is dropped, and from a session that may only read.
type Trace struct {
	Side    string // "blue" or "green"
	Of      string // the part whose code it is
	What    string // what called it
	User    string // as whom it could run, after it had tried to be who the session began as
	Session string // who that is
	Purpose string // the session's application_name
	Mighty  bool   // that one is a superuser, or may become one
}

func (t Trace) String() string {
	return fmt.Sprintf("%s of %s, as %s of %s in %s (%s)", t.What, t.Of, t.User, t.Session, t.Purpose, t.Side)
}

// Tracing is SQL that makes function schema.seen(text): it says true, and leaves a trace, except in the lab's own sessions.
func Tracing(schema, of string) string {
	return `CREATE FUNCTION ` + schema + `.seen(what text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $f$
BEGIN
	IF pg_catalog.current_setting('application_name') OPERATOR(pg_catalog.=) '` + Ours + `' THEN RETURN true; END IF;
	BEGIN
		PERFORM pg_catalog.set_config('role', 'none', true);
	EXCEPTION WHEN OTHERS THEN NULL;
	END;
	RAISE LOG 'trace of $world <` + of + `> <%> <%> <%> <%> <%>', what, current_user, session_user, pg_catalog.current_setting('application_name'),
		(SELECT pg_catalog.bool_or(g.rolsuper OR g.rolcreaterole) FROM pg_catalog.pg_roles g, pg_catalog.pg_roles u
			WHERE u.rolname OPERATOR(pg_catalog.=) current_user AND pg_catalog.pg_has_role(u.oid, g.oid, 'MEMBER'));
	RETURN true;
END $f$;
`
}

// traces reads the servers' logs.
func (s *scene) traces(ctx context.Context) (all []Trace, err error) {
	line := regexp.MustCompile(`LOG: +trace of ` + s.world.Name + ` <(\w*)> <(.*)> <(.*)> <(.*)> <(.*)> <(.*)>`)
	for _, server := range []*pgserver.Server{s.Blue, s.Green} {
		var log strings.Builder
		if err := server.WriteLog(ctx, &log); err != nil {
			return nil, err
		}
		side := "blue"
		if server == s.Green {
			side = "green"
		}
		for _, m := range line.FindAllStringSubmatch(log.String(), -1) {
			t := Trace{Side: side, Of: m[1], What: m[2], User: m[3], Session: m[4], Purpose: m[5], Mighty: m[6] == "t"}
			if !slices.Contains(all, t) {
				all = append(all, t)
			}
		}
	}
	return all, nil
}
