package cutover

import (
	"fmt"
	"time"

	"github.com/tideover/tideover/plan"
)

// Build makes the participant that a runbook describes. It opens no connection.
func Build(spec plan.ParticipantSpec) (Participant, error) {
	if spec.Name == "" {
		spec.Name = spec.Kind
	}
	if spec.Timeout <= 0 {
		spec.Timeout = 5 * time.Second
	}
	missing := func(field string) error {
		return fmt.Errorf("participant %q: kind %s needs %s", spec.Name, spec.Kind, field)
	}
	switch spec.Kind {
	case "http":
		if spec.URL == "" {
			return nil, missing("url")
		}
		return newHTTP(spec)
	case "exec":
		for field, argv := range map[string][]string{"commit": spec.Commit, "abort": spec.Abort, "status": spec.Status} {
			if len(argv) == 0 {
				return nil, missing(field)
			}
		}
		return &execParticipant{spec: spec}, nil
	case "file":
		if spec.Path == "" {
			return nil, missing("path")
		}
		if spec.Blue == spec.Green {
			return nil, fmt.Errorf("participant %q: blue and green have the same content: nobody could tell the sides apart", spec.Name)
		}
		return &fileParticipant{spec: spec}, nil
	case "sql":
		for field, sql := range map[string]string{"dsn": spec.DSN, "commit_sql": spec.CommitSQL, "abort_sql": spec.AbortSQL, "status_sql": spec.StatusSQL} {
			if sql == "" {
				return nil, missing(field)
			}
		}
		return &sqlParticipant{spec: spec}, nil
	case "pgbouncer":
		for field, value := range map[string]string{"dsn": spec.DSN, "path": spec.Path} {
			if value == "" {
				return nil, missing(field)
			}
		}
		return newPgbouncer(spec)
	}
	return nil, fmt.Errorf("participant %q: kind %q: want http, exec, file, sql or pgbouncer", spec.Name, spec.Kind)
}
