package world

import (
	"fmt"
	"strings"
)

// moments is when a random write may come, the likely ones more than once.
var moments = []Moment{BeforeCapture, DuringCopy, Between, Between, Between, DuringReplay, DuringReplay, InHold}

// writes gives a random table its writers.
func (b *builder) writesTo(t *randomTable) {
	for i := range 3 + t.n("writes", 12) {
		name := "w" + itoa(i)
		if !t.has(name, 0.9) {
			continue
		}
		d := t.at(name)
		if sql := t.write(d, 100+i); sql != "" {
			if d.has("as replica", 0.05) {
				sql = "SET session_replication_role = replica;\n" + sql + "\nRESET session_replication_role;"
			}
			b.world.Writes = append(b.world.Writes, Write{pick(d, "moment", moments), sql})
		}
	}
}

// writeKinds are the kinds of transactions, the likely ones more than once.
var writeKinds = []string{"insert", "insert", "insert", "insert", "update", "update", "update", "update", "twin", "twin", "delete", "delete", "again", "move",
	"savepoint", "rollback", "upsert", "truncate", "twice", "truncate part"}

// write is one transaction, "" where the table cannot have it. A new row has a tag that no other has.
func (t *randomTable) write(d dice, fresh int) string {
	old := 1 + d.n("row", t.rows)
	n, ok := d.one("kind", writeKinds)
	if !ok {
		return ""
	}
	switch writeKinds[n] {
	case "insert":
		return t.insert(d, fresh)
	case "twin":
		return t.twin(d)
	case "delete":
		return fmt.Sprintf("DELETE FROM %s WHERE tag = %d;", t.ref(), old)
	case "again": // deleted and inserted under the same key
		return fmt.Sprintf("BEGIN;\nDELETE FROM %s WHERE tag = %d;\n%s\nCOMMIT;", t.ref(), old, t.insert(d, old))
	case "move":
		return t.move(d, old)
	case "savepoint": // of three changes one is taken back
		return fmt.Sprintf("BEGIN;\n%s\nSAVEPOINT a;\n%s\nROLLBACK TO a;\n%s\nCOMMIT;", t.insert(d, fresh), t.update(d.at("no"), old), t.update(d.at("yes"), old))
	case "rollback":
		return fmt.Sprintf("BEGIN;\n%s\n%s\nROLLBACK;", t.insert(d, fresh), t.update(d, old))
	case "upsert":
		return t.upsert(d, old)
	case "truncate":
		if !t.referenced {
			return fmt.Sprintf("BEGIN;\nTRUNCATE %s;\n%s\nCOMMIT;", t.ref(), t.insert(d, fresh))
		}
	case "truncate part":
		if !t.referenced && t.partitioned() {
			return fmt.Sprintf("TRUNCATE %s;", ident(t.schema)+"."+ident(t.part(0)))
		}
	case "twice":
		return t.update(d, old) + "\n" + t.update(d.at("more"), old)
	}
	return t.update(d, old)
}

// free are the columns that a writer may set as it likes.
func (t *randomTable) free() []randomColumn {
	var free []randomColumn
	for _, c := range t.columns {
		if c.writable && c.fixed == nil && len(c.values) > 0 {
			free = append(free, c)
		}
	}
	return free
}

func (t *randomTable) update(d dice, tag int) string {
	free := t.free()
	if len(free) == 0 {
		return fmt.Sprintf("UPDATE %s SET tag = tag WHERE tag = %d;", t.ref(), tag)
	}
	var set []string
	for i, c := range free {
		if i == d.n("column", len(free)) || d.n(c.name+" too", 3) == 0 {
			set = append(set, ident(c.name)+" = "+t.value(d, c, 2+tag))
		}
	}
	return fmt.Sprintf("UPDATE %s SET %s WHERE tag = %d;", t.ref(), strings.Join(set, ", "), tag)
}

// twin sets values that are equal to those that are there, and not the same.
func (t *randomTable) twin(d dice) string {
	var set []string
	for _, c := range t.free() {
		if c.twins[1] != "" {
			set = append(set, ident(c.name)+" = "+c.twins[1])
		}
	}
	if set == nil {
		return t.update(d, 1)
	}
	return fmt.Sprintf("UPDATE %s SET %s WHERE tag = 1;", t.ref(), strings.Join(set, ", "))
}

// move changes a key. Some keys are Postgres' own to give.
func (t *randomTable) move(d dice, tag int) string {
	c := t.column(t.key[0])
	switch {
	case t.keyed == "identity key":
		return fmt.Sprintf("UPDATE %s SET %s = DEFAULT WHERE tag = %d;", t.ref(), ident(c.name), tag)
	case c.fixed == nil || !c.writable:
		return t.update(d, tag)
	}
	return fmt.Sprintf("UPDATE %s SET %s = %s WHERE tag = %d;", t.ref(), ident(c.name), c.fixed(tag+1000), tag)
}

func (t *randomTable) upsert(d dice, tag int) string {
	if c := t.column(t.key[0]); !c.writable || t.keyed == "deferrable key" || len(t.free()) == 0 {
		return t.update(d, tag)
	}
	c := t.free()[d.n("upsert", len(t.free()))]
	return fmt.Sprintf("%s ON CONFLICT (%s) DO UPDATE SET %s = excluded.%[3]s;", strings.TrimSuffix(t.insert(d, tag), ";"), idents(t.key), ident(c.name))
}
