package sqlrewrite

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Setting is a parameter that a statement sets for the rest of its session.
type Setting struct {
	Name  string // in lower case; "" for one that can't be told
	Line  int
	Later bool // it is set for sessions that begin later: ALTER DATABASE … SET
}

// passing are parameters that decide how long a statement may take and what is said of it, and not what it does.
var passing = words(`lock_timeout statement_timeout idle_in_transaction_session_timeout idle_session_timeout transaction_timeout deadlock_timeout
	client_min_messages client_encoding application_name synchronous_commit maintenance_work_mem work_mem temp_buffers statement_timeout jit
	max_parallel_maintenance_workers max_parallel_workers max_parallel_workers_per_gather effective_cache_size random_page_cost log_statement
	log_min_messages log_min_error_statement log_duration log_min_duration_statement default_statistics_target`)

// usual are values that a session of a migration has anyway.
var usual = map[string]string{"standard_conforming_strings": "on", "row_security": "off", "xmloption": "content", "default_tablespace": "",
	"default_table_access_method": "heap", "check_function_bodies": "true", "default_with_oids": "false"}

// Leaves are the parameters that a script sets and doesn't take back: in the session of a tool that runs several files in one, they hold
// in the next file too. A search_path of the schema alone is what each file begins with, and counts for nothing.
func (s *Script) Leaves(schema string) []Setting {
	var left []Setting
	for _, st := range s.Up {
		set, back := settings(st.node, schema)
		left = slices.DeleteFunc(left, func(x Setting) bool { return slices.Contains(back, x.Name) || slices.Contains(back, "*") })
		for _, n := range set {
			left = append(left, Setting{Name: n, Line: st.Line})
		}
		if n := setForLater(st.node); n != "" && !passing[n] {
			left = append(left, Setting{Name: n, Line: st.Line, Later: true})
		}
	}
	return left
}

// setForLater is the parameter that a statement sets for sessions of a database or a role; "": none.
func setForLater(n *pg.Node) string {
	v := n.GetAlterDatabaseSetStmt().GetSetstmt()
	if v == nil {
		v = n.GetAlterRoleSetStmt().GetSetstmt()
	}
	if v.GetKind() == pg.VariableSetKind_VAR_RESET_ALL {
		return "*"
	}
	return strings.ToLower(v.GetName())
}

// Begins are the parameters that a script sets, or takes back, before it does anything else; "*": all.
func (s *Script) Begins() []string {
	var names []string
	for _, st := range s.Up {
		set, back := settings(st.node, "")
		if len(set)+len(back) == 0 && st.node.GetVariableSetStmt() == nil {
			break
		}
		names = append(append(names, set...), back...)
	}
	return names
}

// SetsSession: the statement sets a parameter for those behind it, in whatever transaction they are.
func (st *Statement) SetsSession() bool {
	if v := st.node.GetVariableSetStmt(); v != nil {
		return !v.IsLocal && !strings.HasPrefix(v.Name, "TRANSACTION")
	}
	set, back := settings(st.node, "")
	return len(set)+len(back) > 0
}

// settings are the parameters that a statement sets for its session, and those that it takes back; "*": all.
func settings(n *pg.Node, schema string) (set, back []string) {
	note := func(name, value string) {
		name = strings.ToLower(name)
		if is, ok := usual[name]; ok && is == value || name == "search_path" && value == schema && schema != "" {
			back = append(back, name)
		} else if !passing[name] {
			set = append(set, name)
		}
	}
	switch v := n.GetNode().(type) {
	case *pg.Node_DiscardStmt:
		if v.DiscardStmt.Target == pg.DiscardMode_DISCARD_ALL {
			back = append(back, "*")
		}
	case *pg.Node_VariableSetStmt:
		s := v.VariableSetStmt
		switch {
		case s.IsLocal || strings.HasPrefix(s.Name, "TRANSACTION"):
		case s.Kind == pg.VariableSetKind_VAR_RESET_ALL:
			back = append(back, "*")
		case s.Kind == pg.VariableSetKind_VAR_RESET || s.Kind == pg.VariableSetKind_VAR_SET_DEFAULT:
			back = append(back, strings.ToLower(s.Name))
		default:
			value := "?"
			if len(s.Args) == 1 && s.Args[0].GetAConst().GetSval() != nil {
				value = s.Args[0].GetAConst().GetSval().GetSval()
			}
			note(s.Name, value)
		}
	case *pg.Node_SelectStmt:
		walk(n, func(m any) {
			c, ok := m.(*pg.FuncCall)
			if !ok || c.Funcname[len(c.Funcname)-1].GetString_().GetSval() != "set_config" {
				return
			}
			if len(c.Args) != 3 {
				set = append(set, "")
			} else if b := c.Args[2].GetAConst().GetBoolval(); b == nil || !b.GetBoolval() {
				note(c.Args[0].GetAConst().GetSval().GetSval(), c.Args[1].GetAConst().GetSval().GetSval())
			}
		})
	}
	return set, back
}
