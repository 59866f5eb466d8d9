package sqlrewrite

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Kinds of what an expression gives, beside the types of [plainTypes].
const (
	literal = "literal" // text of no type yet, or NULL: read as whatever it is put into
	number  = "number"  // one of [numbers]
)

var numbers = words(`int2 int4 int8 numeric float4 float8`)

var days = words(`date timestamp timestamptz`)

// kindOf is the type of an expression whose columns have types; "": it can't be told.
func kindOf(n *pg.Node, types map[string]string) string {
	switch v := n.GetNode().(type) {
	case *pg.Node_AConst:
		switch {
		case v.AConst.GetIsnull() || v.AConst.GetSval() != nil:
			return literal
		case v.AConst.GetBoolval() != nil:
			return "bool"
		case v.AConst.GetIval() != nil || v.AConst.GetFval() != nil:
			return number
		}
	case *pg.Node_ColumnRef:
		fields := texts(v.ColumnRef.Fields)
		return types[fields[len(fields)-1]]
	case *pg.Node_TypeCast:
		return internalType(v.TypeCast.TypeName)
	case *pg.Node_BoolExpr, *pg.Node_NullTest, *pg.Node_BooleanTest:
		return "bool"
	case *pg.Node_CaseExpr:
		all := []*pg.Node{v.CaseExpr.Defresult}
		for _, a := range v.CaseExpr.Args {
			all = append(all, a.GetCaseWhen().GetResult())
		}
		return oneKind(all, types)
	case *pg.Node_CoalesceExpr:
		return oneKind(v.CoalesceExpr.Args, types)
	case *pg.Node_MinMaxExpr:
		return oneKind(v.MinMaxExpr.Args, types)
	case *pg.Node_FuncCall:
		return functionKinds[v.FuncCall.Funcname[len(v.FuncCall.Funcname)-1].GetString_().GetSval()]
	case *pg.Node_AExpr:
		return operatorKind(v.AExpr, types)
	}
	return ""
}

// functionKinds are what some of [rowFunctions] give, whatever they are given.
var functionKinds = map[string]string{"replace": "text", "lower": "text", "upper": "text", "md5": "text", "split_part": "text", "translate": "text", "initcap": "text",
	"regexp_replace": "text", "repeat": "text", "left": "text", "right": "text", "reverse": "text", "length": "int4", "strpos": "int4", "starts_with": "bool",
	"abs": number, "round": number}

func operatorKind(e *pg.A_Expr, types map[string]string) string {
	if e.Kind != pg.A_Expr_Kind_AEXPR_OP {
		return "bool" // BETWEEN, LIKE, IN, IS DISTINCT FROM
	}
	left, right := kindOf(e.Lexpr, types), kindOf(e.Rexpr, types)
	isNumber := func(kind string) bool { return kind == number || numbers[kind] }
	switch op := e.Name[len(e.Name)-1].GetString_().GetSval(); op {
	case "=", "<>", "!=", "<", ">", "<=", ">=", "~~", "!~~", "~~*", "!~~*", "~", "!~":
		return "bool"
	case "+", "-", "*", "/", "%":
		if isNumber(right) && (e.Lexpr == nil || isNumber(left)) {
			return number
		}
	case "||":
		isText := func(kind string) bool { return kind == "text" || kind == "varchar" }
		if isText(left) && right != "" || isText(right) && left != "" || left == literal && right == literal {
			return "text"
		}
		if left == "jsonb" && (right == "jsonb" || right == literal) || left == literal && right == "jsonb" {
			return "jsonb"
		}
	case "->>":
		return "text"
	case "->":
		if left == "json" || left == "jsonb" {
			return left
		}
	}
	return ""
}

// oneKind is the kind of all of some expressions. Literals alone are text by then.
func oneKind(list []*pg.Node, types map[string]string) string {
	kind := literal
	for _, n := range list {
		if n == nil {
			continue
		}
		switch k := kindOf(n, types); {
		case k == "":
			return ""
		case k == literal || k == kind:
		case kind == literal:
			kind = k
		case (k == number || numbers[k]) && (kind == number || numbers[kind]):
			kind = number
		default:
			return ""
		}
	}
	if kind == literal {
		return "text"
	}
	return kind
}

// assignable: Postgres lets a value of a kind be put into a column of a type without a cast that is written out. Source: pg_cast, and
// manual, CREATE CAST: anything may be put into text.
func assignable(kind, typ string) bool {
	switch {
	case kind == "" || typ == "":
		return false
	case kind == literal || kind == typ || typ == "text" || typ == "varchar":
		return true
	}
	both := func(set map[string]bool) bool { return (set[kind] || kind == number && set["int4"]) && set[typ] }
	return both(numbers) || both(days) || slices.Contains([]string{"json", "jsonb"}, kind) && slices.Contains([]string{"json", "jsonb"}, typ)
}
