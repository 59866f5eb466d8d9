package sqlrewrite

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Only what is named here is cut into batches: expressions whose value in a row depends on that row, on constants, and on tables
// that the statement doesn't change. Anything else is run whole, since it might see what an earlier batch has written.

// localFunctions are functions of Postgres' own whose value depends on their arguments, or on settings that stay. Which of them are
// aggregates is in [aggregates]; those stand in subqueries only. Source: manual, chapter 9.
var localFunctions = words(`
	lower upper initcap md5 sha224 sha256 sha384 sha512 concat concat_ws length char_length character_length octet_length bit_length
	substr substring replace translate overlay trim btrim ltrim rtrim lpad rpad left right reverse repeat split_part position strpos
	starts_with regexp_replace regexp_match regexp_like regexp_substr regexp_count regexp_split_to_array ascii chr format
	quote_literal quote_ident quote_nullable encode decode convert convert_to convert_from to_hex like_escape similar_to_escape
	abs ceil ceiling floor round trunc mod power sqrt cbrt exp ln log sign div gcd lcm scale width_bucket
	to_char to_date to_number to_timestamp date_trunc date_part extract make_date make_time make_interval make_timestamp make_timestamptz
	timezone justify_days justify_hours justify_interval isfinite date_bin
	to_json to_jsonb row_to_json array_to_json json_build_object jsonb_build_object json_build_array jsonb_build_array json_object
	jsonb_object jsonb_set jsonb_set_lax jsonb_insert jsonb_strip_nulls json_strip_nulls json_extract_path jsonb_extract_path
	json_extract_path_text jsonb_extract_path_text json_typeof jsonb_typeof json_array_length jsonb_array_length jsonb_pretty
	array_append array_prepend array_cat array_remove array_replace array_length array_ndims array_to_string string_to_array cardinality
	array_position array_positions array_upper array_lower array_fill
	int4range int8range numrange tsrange tstzrange daterange isempty lower_inc upper_inc lower_inf upper_inf
	host masklen netmask network family text abbrev set_masklen
	to_tsvector setweight tsvector_to_array strip coalesce nullif num_nulls num_nonnulls current_setting
	gen_random_uuid random clock_timestamp uuid_generate_v4`)

// aggregates may stand in a subquery over tables that stay as they are.
var aggregates = words(`count sum min max avg bool_and bool_or every string_agg array_agg json_agg jsonb_agg json_object_agg jsonb_object_agg`)

// moments give one value in a transaction. In batches they are replaced by the time at which the first one began.
var moments = words(`now transaction_timestamp statement_timestamp`)

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// systemColumns differ between a row's versions, or between batches.
var systemColumns = words(`ctid xmin xmax cmin cmax tableoid`)

// used is what an expression names that only a catalog can tell more of.
type used struct {
	functions, operators, columns []string
}

func (u *used) add(list *[]string, s string) {
	if !slices.Contains(*list, s) {
		*list = append(*list, s)
	}
}

// rowLocal says why a statement can't be cut into batches: what in it isn't known to depend on its own row alone. Ours may have
// DEFAULT in it, whose expression was looked at by whoever made it, and the clauses that our copies have.
func rowLocal(n *pg.Node, ours bool) (u used, why string) {
	no := func(format string, args ...any) {
		if why == "" {
			why = fmt.Sprintf(format, args...)
		}
	}
	// CASE, IN, BETWEEN, joins and subqueries compare without writing the operator out.
	u.operators = []string{"=", "<>", "<", ">", "<=", ">="}
	top := true
	walk(n, func(m any) {
		switch v := m.(type) {
		case *pg.Node, *pg.UpdateStmt, *pg.DeleteStmt, *pg.InsertStmt:
			if _, is := m.(*pg.Node); !is {
				if !top {
					no("it has a statement within")
				}
				top = false
			}
		case *pg.ResTarget, *pg.String, *pg.Integer, *pg.Float, *pg.Boolean, *pg.BitString, *pg.A_Star, *pg.List, *pg.Alias, *pg.TypeCast, *pg.TypeName,
			*pg.BoolExpr, *pg.NullTest, *pg.BooleanTest, *pg.CaseExpr, *pg.CaseWhen, *pg.CoalesceExpr, *pg.MinMaxExpr, *pg.A_ArrayExpr,
			*pg.A_Indirection, *pg.A_Indices, *pg.RowExpr, *pg.CollateClause, *pg.RangeVar, *pg.RangeSubselect, *pg.JoinExpr,
			*pg.SubLink, *pg.SortBy, *pg.MultiAssignRef:
		case *pg.A_Const:
			if s := v.GetSval().GetSval(); movesWithTime(s) {
				no("%q means another time in each batch", s)
			}
		case *pg.SelectStmt:
			if v.WithClause != nil || v.IntoClause != nil || len(v.LockingClause) > 0 && !ours || len(v.WindowClause) > 0 {
				no("a query in it has WITH, a lock or a window")
			}
		case *pg.LockingClause, *pg.OnConflictClause, *pg.SetToDefault:
			if !ours {
				no("it has a clause whose effect depends on more than the row: ON CONFLICT, DEFAULT or a lock")
			}
		case *pg.ColumnRef:
			if len(v.Fields) == 0 {
				return
			}
			last := v.Fields[len(v.Fields)-1].GetString_().GetSval()
			if systemColumns[last] {
				no("the system column %s", last)
			}
			if last != "" && last != placeholder && last != momentPlaceholder {
				u.add(&u.columns, last) // a.f may be the function f, called with the row a
			}
		case *pg.A_Expr:
			if name := v.Name; len(name) > 0 {
				op := name[len(name)-1].GetString_().GetSval()
				if len(name) > 1 && name[0].GetString_().GetSval() != "pg_catalog" {
					no("the operator %s of a schema of its own", op)
				}
				u.add(&u.operators, op)
			}
		case *pg.FuncCall:
			u.function(v, no)
		case *pg.SQLValueFunction:
			switch v.Op {
			case pg.SQLValueFunctionOp_SVFOP_CURRENT_USER, pg.SQLValueFunctionOp_SVFOP_USER, pg.SQLValueFunctionOp_SVFOP_SESSION_USER,
				pg.SQLValueFunctionOp_SVFOP_CURRENT_ROLE, pg.SQLValueFunctionOp_SVFOP_CURRENT_CATALOG, pg.SQLValueFunctionOp_SVFOP_CURRENT_SCHEMA:
			default:
				no("the time with a precision of its own, which differs between batches")
			}
		default:
			no("%s isn't known to depend on its own row alone", strings.TrimPrefix(fmt.Sprintf("%T", m), "*pg_query."))
		}
	})
	return u, why
}

func (u *used) function(c *pg.FuncCall, no func(string, ...any)) {
	name := c.Funcname[len(c.Funcname)-1].GetString_().GetSval()
	schema := ""
	if len(c.Funcname) > 1 {
		schema = c.Funcname[0].GetString_().GetSval()
	}
	switch {
	case c.Over != nil:
		no("the window function %s looks at other rows", name)
	case schema != "" && schema != "pg_catalog" && name != "uuid_generate_v4", !localFunctions[name] && !aggregates[name] && (name != "nextval" || schema != "pg_catalog"):
		// Our own DEFAULT of a serial column is the only one that is numbered so.
		no("the function %s isn't known to depend on its arguments alone", name)
	}
	if schema == "" || name == "uuid_generate_v4" {
		u.add(&u.functions, name)
	}
}

// movesWithTime: Postgres reads the text as a time that depends on when it does ("now", "today 12:00"). Source: manual 8.5.1.4.
func movesWithTime(s string) bool {
	special, fields := false, strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) })
	for _, f := range fields {
		special = special || f == "now" || f == "today" || f == "tomorrow" || f == "yesterday"
	}
	return special && len(fields) <= 4
}

// momentPlaceholder stands in a statement where the time of its first batch goes.
const momentPlaceholder = "tideover_moment_goes_here"

// pinned replaces now() and its like by one moment for all batches.
func pinned(n *pg.Node) {
	here := func() *pg.Node { return pg.MakeColumnRefNode([]*pg.Node{pg.MakeStrNode(momentPlaceholder)}, 0) }
	as := func(kind string) *pg.Node {
		return &pg.Node{Node: &pg.Node_TypeCast{TypeCast: &pg.TypeCast{Arg: here(), TypeName: &pg.TypeName{
			Names: []*pg.Node{pg.MakeStrNode("pg_catalog"), pg.MakeStrNode(kind)}, Typemod: -1}}}}
	}
	walk(n, func(m any) {
		node, ok := m.(*pg.Node)
		if !ok {
			return
		}
		if c := node.GetFuncCall(); c != nil && len(c.Args) == 0 && len(c.Funcname) > 0 && moments[c.Funcname[len(c.Funcname)-1].GetString_().GetSval()] &&
			(len(c.Funcname) == 1 || c.Funcname[0].GetString_().GetSval() == "pg_catalog") {
			node.Node = here().Node
		}
		switch node.GetSqlvalueFunction().GetOp() {
		case pg.SQLValueFunctionOp_SVFOP_CURRENT_TIMESTAMP:
			node.Node = here().Node
		case pg.SQLValueFunctionOp_SVFOP_CURRENT_DATE:
			node.Node = as("date").Node
		case pg.SQLValueFunctionOp_SVFOP_LOCALTIMESTAMP:
			node.Node = as("timestamp").Node
		}
	})
}
