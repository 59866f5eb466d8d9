package sqlrewrite

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// walk calls f for every message of a tree, the parents first, and those of one message in the order of its fields. A nil tree has
// none.
func walk(m proto.Message, f func(any)) {
	if m == nil || !m.ProtoReflect().IsValid() {
		return
	}
	f(m)
	var fields []protoreflect.FieldDescriptor
	m.ProtoReflect().Range(func(d protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if d.Kind() == protoreflect.MessageKind {
			fields = append(fields, d)
		}
		return true
	})
	slices.SortFunc(fields, func(a, b protoreflect.FieldDescriptor) int { return a.Index() - b.Index() })
	for _, d := range fields {
		v := m.ProtoReflect().Get(d)
		if !d.IsList() {
			walk(v.Message().Interface(), f)
			continue
		}
		for i := range v.List().Len() {
			walk(v.List().Get(i).Message().Interface(), f)
		}
	}
}

// constant: a literal, also with a cast or a sign, or an array of such.
func constant(n *pg.Node) bool {
	switch v := n.GetNode().(type) {
	case *pg.Node_AConst:
		return true
	case *pg.Node_TypeCast:
		return constant(v.TypeCast.Arg)
	case *pg.Node_AArrayExpr:
		for _, e := range v.AArrayExpr.Elements {
			if !constant(e) {
				return false
			}
		}
		return true
	case *pg.Node_AExpr:
		return v.AExpr.Lexpr == nil && constant(v.AExpr.Rexpr)
	}
	return false
}

// stable are functions of Postgres' own that give one value in a statement, so that a default made of them is worked
// out once and kept in the catalog. Any other may be volatile. Source: manual 38.7, "Function Volatility Categories".
var stable = map[string]bool{
	"now": true, "transaction_timestamp": true, "statement_timestamp": true, "current_setting": true, "current_schema": true,
	"timezone": true, "date_trunc": true, "to_timestamp": true, "make_interval": true, "lower": true, "upper": true, "md5": true,
	"concat": true, "length": true, "coalesce": true, "json_build_object": true, "jsonb_build_object": true,
	"json_build_array": true, "jsonb_build_array": true, "to_json": true, "to_jsonb": true, "encode": true, "decode": true,
	"repeat": true, "abs": true, "round": true, "version": true, "pg_backend_pid": true, "int4range": true, "tstzrange": true,
	"count": true, "max": true, "min": true, "sum": true, "date_part": true, "extract": true,
}

// pureCalls: every function that is called is known not to be volatile.
func pureCalls(n *pg.Node) bool {
	pure := true
	walk(n, func(m any) {
		if c, ok := m.(*pg.FuncCall); ok {
			last := c.Funcname[len(c.Funcname)-1].GetString_().GetSval()
			own := len(c.Funcname) == 1 || c.Funcname[0].GetString_().GetSval() == "pg_catalog"
			pure = pure && own && stable[last]
		}
	})
	return pure
}
