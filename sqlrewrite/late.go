package sqlrewrite

import (
	"slices"
	"strings"
	"unicode"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Late is what of a script is put off: its files from the first on that has one of the hazards. It is empty where none has.
func (r Rewritten) Late(hazards []string) []File {
	i := slices.IndexFunc(r.Files, func(f File) bool { return f.Has(hazards) })
	if i < 0 {
		return nil
	}
	return r.Files[i:]
}

// Has says whether the file has one of the hazards.
func (f File) Has(hazards []string) bool {
	return slices.ContainsFunc(f.Hazards, func(h string) bool { return slices.Contains(hazards, h) })
}

// MeetsLate finds a statement that can't run before files of an earlier script that were put off: it is about a table that
// they are about too, or it can't be seen what it is about. Columns that are only to be dropped are in nobody's way who
// doesn't name them.
func (s *Script) MeetsLate(late []File) (*Statement, error) {
	tables, columns, err := concerns(late)
	if err != nil {
		return nil, err
	}
	for _, st := range s.Up {
		a := Analyze(st)
		if slices.ContainsFunc(a.Hazards, func(h Hazard) bool { return h.Name == Opaque || h.Name == Unknown }) {
			return st, nil
		}
		for _, o := range a.Objects {
			if !tables[o.Name] {
				continue
			}
			only, dropped := columns[o.Name]
			if !dropped || slices.ContainsFunc(only, func(c string) bool { return names(st.SQL, c) }) {
				return st, nil
			}
		}
	}
	return nil, nil
}

// names says whether a word of a statement is a column's name, be it the column or not.
func names(sql, column string) bool {
	outside := func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	if strings.ContainsFunc(column, outside) {
		return strings.Contains(sql, column)
	}
	return slices.ContainsFunc(strings.FieldsFunc(sql, outside), func(w string) bool { return strings.EqualFold(w, column) })
}

// concerns lists the tables that files are about; columns has those of which only columns are dropped.
func concerns(files []File) (tables map[string]bool, columns map[string][]string, err error) {
	tables, columns = map[string]bool{}, map[string][]string{}
	other := map[string]bool{}
	for _, f := range files {
		s, err := Parse(f.Name, f.SQL)
		if err != nil {
			return nil, nil, err
		}
		for _, st := range s.Up {
			if t, ok := isCopyEnd(st); ok {
				tables[t.GetRelname()] = true
				continue
			}
			dropped := droppedColumns(st.node.GetAlterTableStmt())
			for _, o := range Analyze(st).Objects {
				tables[o.Name] = true
				if len(dropped) == 0 {
					other[o.Name] = true
				}
				columns[o.Name] = append(columns[o.Name], dropped...)
			}
		}
	}
	for t := range other {
		delete(columns, t)
	}
	return tables, columns, nil
}

// droppedColumns are the columns that an ALTER TABLE drops, if it does nothing else.
func droppedColumns(a *pg.AlterTableStmt) []string {
	var names []string
	for _, n := range a.GetCmds() {
		if n.GetAlterTableCmd().GetSubtype() != pg.AlterTableType_AT_DropColumn {
			return nil
		}
		names = append(names, n.GetAlterTableCmd().GetName())
	}
	return names
}
