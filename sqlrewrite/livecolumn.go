package sqlrewrite

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// fill takes a default that would be worked out for every row off a new column: the column comes empty, gets its default
// for rows to come, and is filled in batches. False: the column needs no filling, or Postgres must do it.
func (x *alteration) fill(d *pg.ColumnDef) bool {
	i := slices.IndexFunc(d.Constraints, func(n *pg.Node) bool { return n.GetConstraint().GetContype() == pg.ConstrType_CONSTR_DEFAULT })
	var value *pg.Node
	switch {
	case slices.ContainsFunc(d.Constraints, func(n *pg.Node) bool {
		t := n.GetConstraint().GetContype()
		return t == pg.ConstrType_CONSTR_GENERATED || t == pg.ConstrType_CONSTR_IDENTITY
	}):
		return false
	case i >= 0 && !pureCalls(d.Constraints[i].GetConstraint().GetRawExpr()):
		value = clone(d.Constraints[i].GetConstraint().RawExpr)
	case i < 0 && serial(d.TypeName) && len(d.TypeName.ArrayBounds) == 0:
	default:
		return false
	}
	if d, is := x.st.domain(d.TypeName); is && d.worked(true) != "" {
		x.st.whole = "it is of a domain, " + d.worked(true)
		return false
	}
	if x.redefined[d.Colname] {
		x.st.whole = "another part of the statement sets its default, which only later rows get"
		return false
	}
	units, why := x.filling(d.Colname, value)
	if why != "" {
		x.st.whole = why
		return false
	}
	if value == nil {
		value = x.sequence(d)
	} else {
		d.Constraints = slices.Delete(slices.Clone(d.Constraints), i, i+1)
		if mayBeDomain(d.TypeName) { // whose own default would be in the rows before they are filled
			null := &pg.Node{Node: &pg.Node_AConst{AConst: &pg.A_Const{Isnull: true}}}
			d.Constraints = append(d.Constraints, constraintNode(&pg.Constraint{Contype: pg.ConstrType_CONSTR_DEFAULT, RawExpr: null}))
		}
	}
	x.defaults = append(x.defaults, command(pg.AlterTableType_AT_ColumnDefault, d.Colname, value))
	x.fills = append(x.fills, units...)
	return true
}

// filling is the back-fill of a new column; why: it can't be done in batches. A nil value is a number of the column's sequence.
func (x *alteration) filling(column string, value *pg.Node) (_ []unit, why string) {
	var uses used
	if value != nil {
		if uses, why = rowLocal(unnumbered(value), false); why != "" {
			return nil, "its default: " + why
		}
		pinless := clone(value)
		if pinned(pinless); !proto.Equal(pinless, value) {
			return nil, "its default asks for the time, which would differ between batches"
		}
		if m := x.st.known.made(); m != nil {
			if why = m.against(Ask{Kind: Fill, Functions: uses.functions, Operators: uses.operators}); why != "" {
				return nil, why
			}
		}
	}
	null := &pg.Node{Node: &pg.Node_NullTest{NullTest: &pg.NullTest{Nulltesttype: pg.NullTestType_IS_NULL,
		Arg: pg.MakeColumnRefNode([]*pg.Node{pg.MakeStrNode(column)}, 0)}}}
	update := &pg.Node{Node: &pg.Node_UpdateStmt{UpdateStmt: &pg.UpdateStmt{Relation: clone(x.table), WhereClause: null,
		TargetList: []*pg.Node{{Node: &pg.Node_ResTarget{ResTarget: &pg.ResTarget{Name: column,
			Val: &pg.Node{Node: &pg.Node_SetToDefault{SetToDefault: &pg.SetToDefault{}}}}}}}}}}
	st := x.made(x.st, update)
	units := x.backfill(st, newScope())
	if units == nil {
		return nil, st.whole
	}
	units[0].list[0].uses = uses
	return units, ""
}

// unnumbered is a default without its calls of nextval: which row gets which number is not said by Postgres either.
func unnumbered(value *pg.Node) *pg.Node {
	n := clone(value)
	walk(n, func(m any) {
		if node, ok := m.(*pg.Node); ok {
			if f := node.GetFuncCall().GetFuncname(); len(f) > 0 && f[len(f)-1].GetString_().GetSval() == "nextval" &&
				(len(f) == 1 || f[0].GetString_().GetSval() == "pg_catalog") {
				node.Node = pg.MakeAConstIntNode(1, 0).Node
			}
		}
	})
	return n
}

// serialTypes are what the serial types stand for. Source: manual 8.1.4.
var serialTypes = map[string]string{"serial": "int4", "serial4": "int4", "bigserial": "int8", "serial8": "int8", "smallserial": "int2", "serial2": "int2"}

// sequence writes a serial column out, as Postgres does, and gives its default.
func (x *alteration) sequence(d *pg.ColumnDef) *pg.Node {
	kind := serialTypes[strings.ToLower(plainType(d.TypeName))]
	typ := &pg.TypeName{Names: []*pg.Node{pg.MakeStrNode("pg_catalog"), pg.MakeStrNode(kind)}, Typemod: -1}
	d.TypeName = typ
	d.Constraints = append(slices.Clone(d.Constraints), constraintNode(&pg.Constraint{Contype: pg.ConstrType_CONSTR_NOTNULL}))
	own := name{x.table.GetSchemaname(), ""}
	for taken := 0; own.name == "" || !x.choose(x.st, x.table, own.name, true, false); taken++ {
		own.name = objectName(x.table.GetRelname(), d.Colname, numbered("seq", taken))
	}
	rel := &pg.RangeVar{Schemaname: own.schema, Relname: own.name, Inh: true, Relpersistence: "p"}
	as := &pg.Node{Node: &pg.Node_DefElem{DefElem: &pg.DefElem{Defname: "as", Arg: &pg.Node{Node: &pg.Node_TypeName{TypeName: clone(typ)}}, Defaction: pg.DefElemAction_DEFELEM_UNSPEC}}}
	create := &pg.Node{Node: &pg.Node_CreateSeqStmt{CreateSeqStmt: &pg.CreateSeqStmt{Sequence: rel, Options: []*pg.Node{as}}}}
	var parts []*pg.Node
	for _, part := range []string{own.schema, x.table.GetRelname(), d.Colname} {
		if part != "" {
			parts = append(parts, pg.MakeStrNode(part))
		}
	}
	owned := &pg.Node{Node: &pg.Node_DefElem{DefElem: &pg.DefElem{Defname: "owned_by", Arg: &pg.Node{Node: &pg.Node_List{List: &pg.List{Items: parts}}}, Defaction: pg.DefElemAction_DEFELEM_UNSPEC}}}
	alter := &pg.Node{Node: &pg.Node_AlterSeqStmt{AlterSeqStmt: &pg.AlterSeqStmt{Sequence: clone(rel), Options: []*pg.Node{owned}}}}
	x.first = append(x.first, unit{[]*Statement{x.made(x.st, create)}, auto})
	of := ident(nameOf(x.table))
	x.serials = append(x.serials, of)
	if owner, other := x.owners[of]; other { // or it could not be tied to the table
		role := &pg.Node{Node: &pg.Node_AlterTableCmd{AlterTableCmd: &pg.AlterTableCmd{Subtype: pg.AlterTableType_AT_ChangeOwner, Behavior: pg.DropBehavior_DROP_RESTRICT,
			Newowner: &pg.RoleSpec{Roletype: pg.RoleSpecType_ROLESPEC_CSTRING, Rolename: owner}}}}
		x.first = append(x.first, unit{[]*Statement{x.made(x.st, &pg.Node{Node: &pg.Node_AlterTableStmt{AlterTableStmt: &pg.AlterTableStmt{
			Relation: clone(rel), Cmds: []*pg.Node{role}, Objtype: pg.ObjectType_OBJECT_SEQUENCE}}})}, auto})
	}
	x.owned = append(x.owned, unit{[]*Statement{x.made(x.st, alter)}, auto})
	cast := &pg.Node{Node: &pg.Node_TypeCast{TypeCast: &pg.TypeCast{Arg: pg.MakeAConstStrNode(ident(own), 0),
		TypeName: &pg.TypeName{Names: []*pg.Node{pg.MakeStrNode("regclass")}, Typemod: -1}}}}
	return pg.MakeFuncCallNode([]*pg.Node{pg.MakeStrNode("pg_catalog"), pg.MakeStrNode("nextval")}, []*pg.Node{cast}, 0)
}
