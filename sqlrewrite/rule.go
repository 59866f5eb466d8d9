package sqlrewrite

import pg "github.com/pganalyze/pg_query_go/v6"

// rules are looked at for every statement, beside what is known of its locks. Each is in the file of its name.
var rules = []rule{uncoveredForeignKey}

// rule looks for one thing in a statement. What it finds is a hazard ([reader.hazard]) where live traffic suffers, else a
// note.
type rule func(r *reader, n *pg.Node)

// Note is something worth knowing that harms no traffic now.
type Note struct {
	Name string // one of [NoteNames]
	Text string
}

func (r *reader) note(name, text string) { r.a.Notes = append(r.a.Notes, Note{name, text}) }
