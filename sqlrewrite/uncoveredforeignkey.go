package sqlrewrite

import (
	"fmt"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// uncoveredForeignKey notes a foreign key without an index of its columns. Postgres makes none
// (https://www.postgresql.org/docs/current/ddl-constraints.html#DDL-CONSTRAINTS-FK), and rewriting must not: the schema would
// not be the vendor's.
func uncoveredForeignKey(r *reader, n *pg.Node) {
	table := n.GetAlterTableStmt().GetRelation()
	for _, part := range n.GetAlterTableStmt().GetCmds() {
		c := part.GetAlterTableCmd().GetDef().GetConstraint()
		if c.GetContype() != pg.ConstrType_CONSTR_FOREIGN {
			continue
		}
		if keys := texts(c.FkAttrs); len(keys) > 0 && r.st.known.uncovered(table, keys[0]) {
			r.note(UnindexedForeignKey, fmt.Sprintf("no index of %s begins with %s: every DELETE in %s reads the whole table", table.GetRelname(), keys[0], c.GetPktable().GetRelname()))
		}
	}
}
