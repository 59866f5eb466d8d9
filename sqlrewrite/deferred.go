package sqlrewrite

import (
	"fmt"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Writes is what is done to a table's rows, as the bits of pg_trigger.tgtype.
type Writes int32

// What can be done.
const (
	Inserts Writes = 1 << 2
	Deletes Writes = 1 << 3
	Updates Writes = 1 << 4
)

// writtenBy is the table whose rows a statement, or one that our batches are made of, writes; nil: none.
func writtenBy(st *Statement) (t *pg.RangeVar, as Writes) {
	n := st.node
	if _, original, ok := batched(st); ok {
		n = original
	}
	switch v := n.GetNode().(type) {
	case *pg.Node_InsertStmt:
		if v.InsertStmt.GetOnConflictClause().GetAction() == pg.OnConflictAction_ONCONFLICT_UPDATE {
			as = Updates
		}
		return v.InsertStmt.Relation, as | Inserts
	case *pg.Node_UpdateStmt:
		return v.UpdateStmt.Relation, Updates
	case *pg.Node_DeleteStmt:
		return v.DeleteStmt.Relation, Deletes
	case *pg.Node_MergeStmt:
		return v.MergeStmt.Relation, Inserts | Updates | Deletes
	case *pg.Node_CopyStmt:
		if v.CopyStmt.IsFrom {
			return v.CopyStmt.Relation, Inserts
		}
	}
	return nil, 0
}

// written are the tables, quoted as SQL, whose rows a script writes, if it does so more than once: of those a catalog must say whether
// something looks at them when the transaction ends.
func (s *Script) written() []string {
	var all []string
	count := 0
	for _, st := range s.Up {
		if t, _ := writtenBy(st); t != nil && !st.records {
			count++
			if n := ident(nameOf(t)); !slices.Contains(all, n) {
				all = append(all, n)
			}
		}
	}
	if count < 2 {
		return nil
	}
	return all
}

// atTheEnd says why a script must stay whole whose parts would each be looked at when they end: a key or a trigger that is deferred sees
// what all of its statements have written together.
func (s *Script) atTheEnd(parts []part, deferred map[string]Writes) *Hazard {
	if s.NoTransaction {
		return nil
	}
	var found *Statement
	var of string
	writing := 0
	for _, p := range parts {
		writes := false
		for _, st := range p.list {
			t, as := writtenBy(st)
			if t == nil || st.records || st.copied {
				continue
			}
			writes = true
			ends := deferred[ident(nameOf(t))]
			if m := st.known.made(); m != nil {
				ends |= m.deferred[t.GetRelname()]
			}
			if ends&as != 0 && found == nil {
				found, of = st, t.GetRelname()
			}
		}
		if writes {
			writing++
		}
	}
	if found == nil || writing < 2 {
		return nil
	}
	return &Hazard{Name: NotSplit, File: found.File, Line: found.Line, Statement: found.SQL,
		Text: fmt.Sprintf("the script stays as it is: a deferred constraint of %s is looked at when all of its statements are done", of),
		Hint: "put the statements into migrations of their own, if each of them holds alone"}
}

// defers notes tables that have something which is looked at when a transaction ends.
func (m *marks) defers(table string, list []*pg.Node) {
	for i, n := range list {
		k := n.GetConstraint()
		// In a column's list, what a constraint is stands behind it.
		if k.GetContype() == pg.ConstrType_CONSTR_ATTR_DEFERRED || k.GetInitdeferred() {
			m.deferred[table] |= Inserts | Updates
			for _, before := range list[:i+1] {
				if t := before.GetConstraint().GetPktable().GetRelname(); t != "" {
					m.deferred[t] |= Deletes | Updates
				}
			}
		}
	}
}
