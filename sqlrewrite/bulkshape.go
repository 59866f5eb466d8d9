package sqlrewrite

import (
	"maps"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// shape is the tables of the catalog's schema at some point of a bulk migration. It is never changed: a statement gives the
// next one.
type shape struct {
	schema string
	tables map[string]Table
}

func newShape(c Catalog) *shape { return &shape{schema: c.Schema, tables: c.Tables} }

// table is a plain table; ok is false for any other, and for one that nothing is known of.
func (s *shape) table(r *pg.RangeVar) (name string, t Table, ok bool) {
	if name, ok = local(s.schema, r); !ok {
		return "", Table{}, false
	}
	t = s.tables[name]
	return name, t, t.Plain
}

// after is the shape behind a statement.
func (s *shape) after(n *pg.Node) *shape {
	switch v := n.GetNode().(type) {
	case *pg.Node_CreateStmt:
		return s.created(v.CreateStmt)
	case *pg.Node_AlterTableStmt:
		return s.altered(v.AlterTableStmt)
	case *pg.Node_RenameStmt:
		return s.renamed(v.RenameStmt)
	case *pg.Node_DropStmt:
		switch v.DropStmt.RemoveType {
		case pg.ObjectType_OBJECT_TABLE:
			next := s.clone()
			for _, o := range v.DropStmt.Objects {
				delete(next.tables, rangeVar(o).Relname)
			}
			return next
		case pg.ObjectType_OBJECT_INDEX:
			return s
		}
	case *pg.Node_IndexStmt, *pg.Node_InsertStmt, *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_CommentStmt, *pg.Node_TruncateStmt,
		*pg.Node_GrantStmt, *pg.Node_CreateSeqStmt, *pg.Node_CreateEnumStmt:
		return s
	case *pg.Node_CreateSchemaStmt:
		if len(v.CreateSchemaStmt.SchemaElts) == 0 {
			return s
		}
	case *pg.Node_SelectStmt:
		if v.SelectStmt.IntoClause == nil && pureCalls(n) {
			return s
		}
	}
	return &shape{schema: s.schema} // nothing is known of what it has done
}

func (s *shape) clone() *shape { return &shape{schema: s.schema, tables: maps.Clone(s.tables)} }

// with has another table under a name.
func (s *shape) with(name string, t Table) *shape {
	next := s.clone()
	if next.tables == nil {
		next.tables = map[string]Table{}
	}
	next.tables[name] = t
	return next
}

func (s *shape) created(c *pg.CreateStmt) *shape {
	name, ok := local(s.schema, c.Relation)
	if !ok {
		return s
	}
	if _, there := s.tables[name]; there && c.IfNotExists {
		return s
	}
	t := Table{Types: map[string]string{}, Plain: !c.IfNotExists && len(c.InhRelations) == 0 && c.Partspec == nil && c.Partbound == nil && c.OfTypename == nil}
	next := s
	for _, e := range c.TableElts {
		switch {
		case e.GetTableLikeClause() != nil:
			t.Plain = false
		case e.GetColumnDef() != nil:
			t.Types[e.GetColumnDef().Colname] = columnType(e.GetColumnDef())
			t.Plain = t.Plain && !generated(e.GetColumnDef())
		}
		t.Plain = t.Plain && ownCalls(e)
	}
	next = next.with(name, t)
	for _, p := range c.InhRelations {
		if parent, ok := local(s.schema, p.GetRangeVar()); ok {
			next = next.with(parent, Table{})
		}
	}
	walk(c, func(m any) {
		if k, ok := m.(*pg.Constraint); ok {
			next = next.referring(k)
		}
	})
	return next
}

func generated(d *pg.ColumnDef) bool {
	for _, c := range d.Constraints {
		if c.GetConstraint().GetContype() == pg.ConstrType_CONSTR_GENERATED {
			return true
		}
	}
	return false
}

// referring notes what a new foreign key points to; without columns it is the primary key, which may be any of them.
func (s *shape) referring(k *pg.Constraint) *shape {
	if k.GetContype() != pg.ConstrType_CONSTR_FOREIGN {
		return s
	}
	name, ok := local(s.schema, k.Pktable)
	t, known := s.tables[name]
	if !ok || !known {
		return s
	}
	if t.Referenced = maps.Clone(t.Referenced); t.Referenced == nil {
		t.Referenced = map[string]bool{}
	}
	columns := texts(k.PkAttrs)
	for c := range t.Types {
		if len(columns) == 0 {
			t.Referenced[c] = true
		}
	}
	for _, c := range columns {
		t.Referenced[c] = true
	}
	return s.with(name, t)
}

// harmless are the parts of ALTER TABLE after which a table is as plain as before.
var harmless = map[pg.AlterTableType]bool{
	pg.AlterTableType_AT_ColumnDefault: true, pg.AlterTableType_AT_SetNotNull: true, pg.AlterTableType_AT_DropNotNull: true,
	pg.AlterTableType_AT_ValidateConstraint: true, pg.AlterTableType_AT_DropConstraint: true, pg.AlterTableType_AT_SetStatistics: true,
}

func (s *shape) altered(a *pg.AlterTableStmt) *shape {
	name, ok := local(s.schema, a.Relation)
	t, known := s.tables[name]
	if !ok || !known {
		return s
	}
	t.Types = maps.Clone(t.Types)
	for _, n := range a.Cmds {
		c := n.GetAlterTableCmd()
		switch c.GetSubtype() {
		case pg.AlterTableType_AT_AddColumn:
			d := c.GetDef().GetColumnDef()
			if _, there := t.Types[d.GetColname()]; there { // IF NOT EXISTS
				continue
			}
			t.Types[d.GetColname()], t.Plain = columnType(d), t.Plain && !generated(d) && ownCalls(c.GetDef())
			for _, k := range d.Constraints {
				s = s.referring(k.GetConstraint())
			}
		case pg.AlterTableType_AT_DropColumn:
			delete(t.Types, c.Name)
		case pg.AlterTableType_AT_AlterColumnType:
			t.Types[c.Name] = columnType(c.GetDef().GetColumnDef())
		case pg.AlterTableType_AT_AddConstraint:
			s = s.referring(c.GetDef().GetConstraint())
			t.Plain = t.Plain && ownCalls(c.GetDef())
		case pg.AlterTableType_AT_AddInherit, pg.AlterTableType_AT_AttachPartition:
			return &shape{schema: s.schema}
		default:
			t.Plain = t.Plain && harmless[c.GetSubtype()] && ownCalls(c.GetDef())
		}
	}
	t.Referenced = s.tables[name].Referenced
	return s.with(name, t)
}

func (s *shape) renamed(r *pg.RenameStmt) *shape {
	name, ok := local(s.schema, r.Relation)
	t, known := s.tables[name]
	if !ok || !known {
		return s
	}
	switch r.RenameType {
	case pg.ObjectType_OBJECT_TABLE:
		next := s.with(r.Newname, t)
		delete(next.tables, name)
		return next
	case pg.ObjectType_OBJECT_COLUMN:
		t.Types, t.Referenced = maps.Clone(t.Types), maps.Clone(t.Referenced)
		t.Types[r.Newname] = t.Types[r.Subname]
		delete(t.Types, r.Subname)
		if t.Referenced[r.Subname] {
			t.Referenced[r.Newname] = true
		}
		return s.with(name, t)
	}
	return s
}

// plainTypes are types without a modifier for which an assignment does just what a cast does. Source: manual 10.4, "Value
// Storage": only a length coercion tells the two apart.
var plainTypes = map[string]bool{
	"uuid": true, "text": true, "bool": true, "int2": true, "int4": true, "int8": true, "numeric": true, "float4": true, "float8": true,
	"json": true, "jsonb": true, "date": true, "timestamp": true, "timestamptz": true, "bytea": true, "varchar": true,
}

// columnType is [internalType] of a column; one that compares in a way of its own has none.
func columnType(d *pg.ColumnDef) string {
	if d.GetCollClause() != nil {
		return ""
	}
	return internalType(d.GetTypeName())
}

// ownCalls: what a default or a constraint calls is Postgres' own, and looks at no table.
func ownCalls(n *pg.Node) bool {
	own := true
	walk(n, func(m any) {
		if c, ok := m.(*pg.FuncCall); ok {
			name := c.Funcname[len(c.Funcname)-1].GetString_().GetSval()
			own = own && (len(c.Funcname) == 1 || c.Funcname[0].GetString_().GetSval() == "pg_catalog" || name == "uuid_generate_v4") &&
				(localFunctions[name] || moments[name] || name == "nextval")
		}
	})
	return own
}

// internalType is a type's name in pg_type, if it is one of [plainTypes] without a modifier.
func internalType(t *pg.TypeName) string {
	n := plainType(t)
	if len(t.GetTypmods()) > 0 || len(t.GetArrayBounds()) > 0 || t.GetSetof() || t.GetPctType() || !plainTypes[n] {
		return ""
	}
	if len(t.Names) > 1 && t.Names[0].GetString_().GetSval() != "pg_catalog" {
		return ""
	}
	return n
}
