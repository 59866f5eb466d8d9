package plan

import (
	"fmt"
	"slices"
	"strings"
)

func item(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// checkSteps looks at what the fields of one step mean together.
func (d *decoder) checkSteps(rb *Runbook) {
	for i, s := range rb.Steps {
		path := item("steps", i)
		switch c := s.Config.(type) {
		case *PauseJobsSpec:
			d.checkParticipants(join(path, "jobs"), c.Jobs, []string{"http", "exec", "file", "sql"})
		case *CaptureSpec:
			switch {
			case c.Source == "outbox" && c.Outbox == "":
				d.add(join(path, "outbox"), "name the table that the server writes its changes into", "missing")
			case c.Source != "outbox" && c.Outbox != "":
				d.add(join(path, "outbox"), "say `source: outbox`, or leave the table out", "counts with source: outbox only")
			}
			if _, given := d.places[join(path, "on_error")]; given && c.Source != "triggers" {
				d.add(join(path, "on_error"), "leave it out: the server's writes don't wait for this source", "counts with source: triggers only")
			}
			if _, given := d.places[join(path, "max_wal_mb")]; given && c.Source != "logical" {
				d.add(join(path, "max_wal_mb"), "leave it out: no slot keeps blue's log", "counts with source: logical only")
			}
		case *CleanupSpec:
			for rule, rows := range c.Approve {
				if rows < 0 {
					d.add(join(join(path, "approve_rows"), shown(rule)), "", "must be at least 0")
				}
			}
		case *MigrateSpec:
			d.checkMigrate(path, c)
		case *CompatViewsSpec:
			if c.Role == "" && rb.Blue.ServerRole == "" {
				d.add(join(path, "role"), "name the role that the OAuth server connects as, here or in blue.server_role", "missing")
			}
		case *CutoverSpec:
			d.checkParticipants(join(path, "participants"), c.Participants, participantKinds)
			if c.Window != "" {
				if _, err := ParseWindow(c.Window); err != nil {
					d.add(join(path, "window"), "such as Sat,Sun 01:00-05:00 Europe/Berlin", "%v", err)
				}
			}
			if c.Canary > 0 && rb.Router == nil {
				d.add(join(path, "canary"), "name the `router:` at the top", "there is no router that could ask green")
			}
			if rb.Router == nil && len(c.Participants) == 0 {
				d.add(path, "name the `router:` at the top, or `participants:` here", "nothing would switch: there is neither a router nor a participant")
			}
		}
	}
}

func (d *decoder) checkMigrate(path string, c *MigrateSpec) {
	_, source := d.places[join(path, "source")]
	_, command := d.places[join(path, "command")]
	switch {
	case !source && !command: // one of a wrong type has been reported already
		d.add(path, "name a folder of goose migrations in `source:`, or the vendor's own program in `command:`", "has neither source nor command")
	case c.Source != "" && len(c.Command) > 0:
		d.add(join(path, "command"), "keep one of the two", "there is a source too")
	case c.To != 0 && len(c.Command) > 0:
		d.add(join(path, "to"), "the command decides itself how far it goes", "counts with source only")
	}
	if c.Target == "offline" {
		for name, given := range map[string]bool{"from": c.From != 0, "allow": len(c.Allow) > 0, "defer": len(c.Defer) > 0, "end_blockers": len(c.EndBlockers) > 0} {
			if given {
				d.add(join(path, name), "leave it out: nobody waits for an offline migration", "counts with target: live only")
			}
		}
	}
	if c.Format != "" && len(c.Command) > 0 {
		d.add(join(path, "format"), "the command knows its own files", "counts with source only")
	}
	if c.AsWritten && (c.Target != "offline" || len(c.Command) > 0) {
		d.add(join(path, "as_written"), "leave it out", "counts with target: offline and source only")
	}
	d.checkWords(join(path, "command"), c.Command)
}

// checkWords finds a command without a program.
func (d *decoder) checkWords(path string, words []string) {
	if len(words) > 0 && strings.TrimSpace(words[0]) == "" {
		d.add(item(path, 0), "the first word is the program", "must not be empty")
	}
}

// participantNeeds says which fields a kind must have, and which it may have besides.
var participantNeeds = map[string]struct{ must, may []string }{
	"http":      {must: []string{"url"}, may: []string{"secret"}},
	"exec":      {must: []string{"commit", "abort", "status"}, may: []string{"prepare"}},
	"file":      {must: []string{"path", "blue", "green"}},
	"sql":       {must: []string{"dsn", "commit_sql", "abort_sql", "status_sql"}},
	"pgbouncer": {must: []string{"dsn", "path", "blue", "green"}},
}

func (d *decoder) checkParticipants(list string, all []ParticipantSpec, kinds []string) {
	names := make(map[string]int)
	for i, p := range all {
		path := item(list, i)
		if first, ok := names[p.Name]; ok && p.Name != "" {
			d.add(join(path, "name"), "every participant needs a name of its own", "is the name of %s too", item(list, first))
		} else {
			names[p.Name] = i
		}
		needs, ok := participantNeeds[p.Kind]
		if !ok {
			continue // said already
		}
		if !slices.Contains(kinds, p.Kind) {
			d.add(join(path, "kind"), "one of "+strings.Join(kinds, ", "), "a %s can't be used here", p.Kind)
			continue
		}
		for _, f := range p.set() {
			d.checkParticipantField(path, p.Kind, f.name, f.given, needs.must, needs.may)
		}
		d.checkURL(join(path, "url"), p.URL)
		if p.Secret != "" && len(p.Secret) < minSecret {
			d.add(join(path, "secret"), "take a longer one, such as the output of `openssl rand -hex 32`", "has %d bytes, it needs at least %d", len(p.Secret), minSecret)
		}
		if p.Kind == "sql" || p.Kind == "pgbouncer" {
			d.checkDSN(join(path, "dsn"), p.DSN)
		}
		for name, words := range map[string][]string{"prepare": p.Prepare, "commit": p.Commit, "abort": p.Abort, "status": p.Status} {
			d.checkWords(join(path, name), words)
		}
	}
}

func (d *decoder) checkParticipantField(path, kind, name string, given bool, must, may []string) {
	at := join(path, name)
	switch {
	case !given && slices.Contains(must, name):
		if _, said := d.places[at]; !said { // a wrong type has been reported already
			d.add(at, fmt.Sprintf("kind %s needs %s", kind, strings.Join(must, ", ")), "missing")
		}
	case given && !slices.Contains(must, name) && !slices.Contains(may, name):
		d.add(at, fmt.Sprintf("kind %s has %s", kind, strings.Join(slices.Concat(must, may), ", ")), "does not count for kind %s", kind)
	}
}

// minSecret is the shortest secret of a participant, in bytes.
const minSecret = 16

type setField struct {
	name  string
	given bool
}

// set says which of the fields that depend on the kind are there.
func (p *ParticipantSpec) set() []setField {
	return []setField{
		{"url", p.URL != ""}, {"secret", p.Secret != ""},
		{"prepare", len(p.Prepare) > 0}, {"commit", len(p.Commit) > 0}, {"abort", len(p.Abort) > 0}, {"status", len(p.Status) > 0},
		{"path", p.Path != ""}, {"blue", p.Blue != ""}, {"green", p.Green != ""},
		{"dsn", p.DSN != ""}, {"commit_sql", p.CommitSQL != ""}, {"abort_sql", p.AbortSQL != ""}, {"status_sql", p.StatusSQL != ""},
	}
}
