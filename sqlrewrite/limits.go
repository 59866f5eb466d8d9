package sqlrewrite

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// limits are parameters by which scripts limit their time and what they are told: whoever runs the rewritten files sets limits of his own.
var limits = words("lock_timeout statement_timeout idle_in_transaction_session_timeout transaction_timeout client_min_messages")

// withoutLimits takes such SETs off. A script of nothing else stays as it is.
func withoutLimits(list []*Statement) []*Statement {
	rest := slices.DeleteFunc(slices.Clone(list), func(st *Statement) bool { return st.limits() })
	if !slices.ContainsFunc(rest, func(st *Statement) bool { return !st.records }) {
		return list
	}
	return rest
}

func (st *Statement) limits() bool {
	v := st.node.GetVariableSetStmt()
	switch v.GetKind() {
	case pg.VariableSetKind_VAR_SET_VALUE, pg.VariableSetKind_VAR_SET_DEFAULT, pg.VariableSetKind_VAR_RESET:
		return limits[strings.ToLower(v.GetName())]
	}
	return false
}
