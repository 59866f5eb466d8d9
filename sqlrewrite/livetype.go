package sqlrewrite

import (
	"fmt"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// A column gets another type by way of a second column: a trigger fills it with every write, batches fill it in the rows that
// are there, and it takes the first one's place and name in one moment. It stands at the end of the table then, which pg_dump
// shows and SELECT * gives: so that a person must choose this ([ColumnOrder]) over writing the table again behind its lock.
type retyping struct {
	table  *pg.RangeVar
	column string
	value  string // what the new column holds, as an expression over the row
}

// retype is ALTER COLUMN … TYPE by a second column; nil: it stays as it is.
func (l *live) retype(st *Statement, a *pg.AlterTableStmt, sc *scope) []unit {
	if !l.byShadow || a.Objtype != pg.ObjectType_OBJECT_TABLE || a.MissingOk || len(a.Cmds) != 1 || !a.GetRelation().GetInh() || sc.fresh(a.Relation) {
		return nil
	}
	c := a.Cmds[0].GetAlterTableCmd()
	d := c.GetDef().GetColumnDef()
	if c.GetSubtype() != pg.AlterTableType_AT_AlterColumnType || d.GetCollClause() != nil || !pureCalls(d.GetRawDefault()) ||
		d.GetRawDefault() == nil && keepsRows(st.known.typeOf(a.Relation, c.Name), d.GetTypeName()) {
		return nil
	}
	if own, is := st.domain(d.TypeName); is && own.worked(false) != "" {
		st.whole = "the new type is a domain, " + own.worked(false)
		return nil
	}
	value := clone(d).RawDefault
	if value == nil {
		value = &pg.Node{Node: &pg.Node_TypeCast{TypeCast: &pg.TypeCast{TypeName: clone(d.TypeName),
			Arg: pg.MakeColumnRefNode([]*pg.Node{pg.MakeStrNode(c.Name)}, 0)}}}
	}
	text, ok := expression(value)
	if !ok {
		return nil
	}
	r := retyping{table: a.Relation, column: c.Name, value: text}
	x := &alteration{live: l, st: st, table: a.Relation}
	add := x.statement(command(pg.AlterTableType_AT_AddColumn, "", &pg.Node{Node: &pg.Node_ColumnDef{ColumnDef: &pg.ColumnDef{
		Colname: r.shadow(), TypeName: clone(d.TypeName), IsLocal: true}}}))
	update := l.text(st, fmt.Sprintf("UPDATE %s SET %s = %s", ident(nameOf(r.table)), ident(name{name: r.shadow()}), text))
	fill := l.backfill(update, newScope())
	if fill == nil {
		st.whole = update.whole
		return nil
	}
	units := append([]unit{{[]*Statement{add, l.text(st, r.beginSQL())}, alone}}, fill...)
	return append(units, unit{[]*Statement{l.text(st, r.provedSQL())}, alone}, unit{[]*Statement{l.text(st, r.swapSQL())}, alone})
}

// expression is a node as SQL text.
func expression(n *pg.Node) (string, bool) {
	sql, err := pg.Deparse(&pg.ParseResult{Version: 170007, Stmts: []*pg.RawStmt{{Stmt: &pg.Node{Node: &pg.Node_SelectStmt{SelectStmt: &pg.SelectStmt{
		TargetList: []*pg.Node{{Node: &pg.Node_ResTarget{ResTarget: &pg.ResTarget{Val: n}}}}}}}}}})
	text, ok := strings.CutPrefix(sql, "SELECT ")
	return text, err == nil && ok
}

func (r retyping) shadow() string { return objectName("tideover", r.column, "new") }

// isShadow: the column is one that retyping has added.
func isShadow(column string) bool {
	return strings.HasPrefix(column, "tideover_") && strings.HasSuffix(column, "_new")
}

// trigger sorts behind letters: it fires after every other trigger that may change the row.
func (r retyping) trigger() string {
	return "~" + objectName("tideover_"+r.table.GetRelname(), r.column, "")
}

func (r retyping) constants() string {
	return fmt.Sprintf(`DECLARE
    v_table constant text := %s;
    v_column constant pg_catalog.name := %s;
    v_shadow constant pg_catalog.name := %s;
    v_trigger constant pg_catalog.name := %s;
    v_check constant pg_catalog.name := %s;
    v_value constant text := %s;
    v_number smallint;
    v_found text;
`, quoted(ident(nameOf(r.table))), quoted(r.column), quoted(r.shadow()), quoted(r.trigger()), quoted(notNullName(r.table.GetRelname(), r.shadow())), quoted(r.value))
}

// nothingHangs: what else hangs on the column would have to be made anew for the second one.
const nothingHangs = `    PERFORM pg_catalog.set_config('lock_timeout', '250ms', true);
    SELECT a.attnum INTO STRICT v_number FROM pg_catalog.pg_attribute a WHERE a.attrelid = v_table::pg_catalog.regclass AND a.attname = v_column;
    SELECT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) INTO v_found FROM pg_catalog.pg_depend d
    WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = v_table::pg_catalog.regclass AND d.refobjsubid = v_number
        AND NOT (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'a' -- a sequence of its own goes along, an index of its own doesn't
            AND EXISTS (SELECT FROM pg_catalog.pg_class q WHERE q.oid = d.objid AND q.relkind = 'S'))
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_attrdef f WHERE d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND f.oid = d.objid AND f.adrelid = d.refobjid AND f.adnum = v_number)
    LIMIT 1;
    IF v_found IS NULL AND EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = v_table::pg_catalog.regclass AND a.attnum = v_number
        AND (a.attidentity <> '' OR a.attgenerated <> '' OR a.attacl IS NOT NULL)) THEN
        v_found := 'an identity, a generated value or a privilege';
    ELSIF v_found IS NULL AND EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE v_table::pg_catalog.regclass IN (i.inhrelid, i.inhparent)) THEN
        v_found := 'a parent or a child of the table';
    END IF;
    IF v_found IS NOT NULL THEN
        RAISE EXCEPTION 'column % of % cannot be replaced by another: % hangs on it', v_column, v_table, v_found
            USING ERRCODE = 'dependent_objects_still_exist', HINT = 'take that away before and make it anew behind, or let the table be written again: allow rewrites-table';
    END IF;
`

// asOurs has a trigger's function read text and times as the migration does, whatever the session that writes has set.
const asOurs = `SET search_path FROM CURRENT SET timezone FROM CURRENT SET datestyle FROM CURRENT SET intervalstyle FROM CURRENT SET lc_monetary FROM CURRENT SET bytea_output FROM CURRENT`

// beginSQL lets every write fill the second column, which has been added just now.
func (r retyping) beginSQL() string {
	return block(r.constants() + "BEGIN\n" + nothingHangs + `    EXECUTE pg_catalog.format('CREATE FUNCTION %I() RETURNS trigger LANGUAGE plpgsql ` + asOurs + ` AS %L', v_trigger,
        pg_catalog.format('BEGIN SELECT %s INTO NEW.%I FROM (SELECT NEW.*) AS %I; RETURN NEW; END', v_value, v_shadow, (pg_catalog.parse_ident(v_table))[pg_catalog.cardinality(pg_catalog.parse_ident(v_table))]));
    EXECUTE pg_catalog.format('CREATE TRIGGER %I BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION %1$I()', v_trigger, v_table);
    IF (SELECT a.attnotnull FROM pg_catalog.pg_attribute a WHERE a.attrelid = v_table::pg_catalog.regclass AND a.attnum = v_number) THEN
        EXECUTE pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I CHECK (%I IS NOT NULL) NOT VALID', v_table, v_check, v_shadow);
    END IF;
END`)
}

// provedSQL proves that the second column has no NULL, where the first may have none.
func (r retyping) provedSQL() string {
	return block(r.constants() + `BEGIN
    PERFORM pg_catalog.set_config('lock_timeout', '250ms', true);
    IF EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conrelid = v_table::pg_catalog.regclass AND conname = v_check) THEN
        EXECUTE pg_catalog.format('ALTER TABLE %s VALIDATE CONSTRAINT %I', v_table, v_check);
    END IF;
END`)
}

// swapSQL puts the second column in the place of the first.
func (r retyping) swapSQL() string {
	return block(r.constants() + `    v_default text;
    v_comment text;
    v_sequence pg_catalog.regclass;
BEGIN
` + nothingHangs + `    EXECUTE pg_catalog.format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', v_table);
    SELECT pg_catalog.pg_get_expr(f.adbin, f.adrelid) INTO v_default FROM pg_catalog.pg_attrdef f WHERE f.adrelid = v_table::pg_catalog.regclass AND f.adnum = v_number;
    v_comment := pg_catalog.col_description(v_table::pg_catalog.regclass, v_number);
    IF EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conrelid = v_table::pg_catalog.regclass AND conname = v_check) THEN
        EXECUTE pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL', v_table, v_shadow);
        EXECUTE pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I', v_table, v_check);
    END IF;
    FOR v_sequence IN SELECT d.objid::pg_catalog.regclass FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'a'
        AND d.refclassid = d.classid AND d.refobjid = v_table::pg_catalog.regclass AND d.refobjsubid = v_number
        AND EXISTS (SELECT FROM pg_catalog.pg_class q WHERE q.oid = d.objid AND q.relkind = 'S')
    LOOP
        EXECUTE pg_catalog.format('ALTER SEQUENCE %s OWNED BY %s.%I', v_sequence, v_table, v_shadow);
    END LOOP;
    EXECUTE pg_catalog.format('DROP TRIGGER %I ON %s', v_trigger, v_table);
    EXECUTE pg_catalog.format('DROP FUNCTION %I()', v_trigger);
    EXECUTE pg_catalog.format('ALTER TABLE %s DROP COLUMN %I', v_table, v_column);
    EXECUTE pg_catalog.format('ALTER TABLE %s RENAME COLUMN %I TO %I', v_table, v_shadow, v_column);
    IF v_default IS NOT NULL THEN
        EXECUTE pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT %s', v_table, v_column, v_default);
    END IF;
    IF v_comment IS NOT NULL THEN
        EXECUTE pg_catalog.format('COMMENT ON COLUMN %s.%I IS %L', v_table, v_column, v_comment);
    END IF;
END`)
}

// retypes recognizes our blocks.
func retypes(st *Statement) (r retyping, which string) {
	if st.node.GetDoStmt() == nil || !strings.Contains(st.SQL, "\n    v_shadow constant pg_catalog.name := ") {
		return r, ""
	}
	of, okOf := declared(st.SQL, "v_table")
	value, okValue := declared(st.SQL, "v_value")
	column, okColumn := declaredAs(st.SQL, "v_column", "pg_catalog.name")
	t, okTable := table(of)
	if !okOf || !okValue || !okColumn || !okTable {
		return r, ""
	}
	r = retyping{table: t, column: column, value: value}
	for which, sql := range map[string]string{"begin": r.beginSQL(), "proved": r.provedSQL(), "swap": r.swapSQL()} {
		if st.SQL == sql {
			return r, which
		}
	}
	return r, ""
}

// retyped tells of one of our blocks what it does.
func (r *reader) retyped() bool {
	x, which := retypes(r.st)
	switch which {
	case "begin":
		r.because("a trigger is made that fills the column of the new type", "sql-createtrigger")
		r.touch(x.table, "table", AccessExclusive)
	case "proved":
		r.because("a CHECK is validated", "sql-altertable")
		r.touch(x.table, "table", ShareUpdateExclusive)
		r.a.Scan = true
	case "swap":
		r.because("the column of the new type takes the old one's place", "sql-altertable")
		r.touch(x.table, "table", AccessExclusive)
		of := x.table.GetRelname() + "." + x.column
		r.hazard(ColumnOrder, of+" moves to the end of the table: whoever relies on the order of columns (SELECT * by position, INSERT without a list) notices",
			"allow rewrites-table instead, and have the table written again behind its lock")
		r.hazard(BreaksOldServer, "the server in use expects the old type of "+of, offline)
	}
	return which != ""
}
