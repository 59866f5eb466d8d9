package sqlrewrite

import (
	"fmt"
	"maps"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// Rewritten is a script made ready to run.
type Rewritten struct {
	Files   []File   // to be run in this order
	Hazards []Hazard // what must be allowed by name, in the order of the script
	Changed bool     // false: Files is the one file that was given, byte by byte
	asks    []Ask
	// notNulls are columns that are made NOT NULL, of which the scripts don't tell whether they have a default.
	notNulls []Column
	// relations are what would be built, dropped or constrained in a way that Postgres has for ordinary tables alone.
	relations []string
	// types are those of new columns that may be domains.
	types []string
	// written are tables whose rows several statements write together; serials those that get a column with a sequence.
	written, serials []string
}

// Written are the tables, quoted as SQL, of which a catalog must say whether they have something that is looked at when a transaction
// ends.
func (r Rewritten) Written() []string { return r.written }

// Serials are the tables, quoted as SQL, of which a catalog must say whose they are.
func (r Rewritten) Serials() []string { return r.serials }

// Types are those of new columns, quoted as SQL, of which a catalog must say whether they are domains.
func (r Rewritten) Types() []string { return r.types }

// Relations are the tables and indexes, quoted as SQL, of which a catalog must say whether they have partitions.
func (r Rewritten) Relations() []string { return r.relations }

// NotNulls are the columns in use that get NOT NULL, if it takes a catalog to say whether they have a default.
func (r Rewritten) NotNulls() []Column { return r.notNulls }

// Asks are the statements that have become batches, in their order, with what is to be asked of a catalog before they are run.
func (r Rewritten) Asks() []Ask { return r.asks }

// asks are those of the batches among the statements of parts.
func asks(parts []part, file string) []Ask {
	var list []Ask
	for _, p := range parts {
		for _, st := range p.list {
			if b, _, ok := batched(st); ok {
				a := b.ask
				a.Job, a.File, a.Line = b.job, file, st.Line
				a.Functions, a.Operators = slices.Concat(a.Functions, st.uses.functions, st.known.made().callsOf(a.changed())), slices.Concat(a.Operators, st.uses.operators)
				list = append(list, a)
			}
		}
	}
	return list
}

// Offline is for a database that nobody uses: nothing is changed, and there are no hazards. A script of another format
// becomes a goose file.
func Offline(s *Script) (Rewritten, error) {
	if s.as != "" {
		files, err := s.render([]part{{s.Up, s.NoTransaction}})
		return Rewritten{Files: files}, err
	}
	return s.asGiven(), nil
}

func (s *Script) asGiven() Rewritten {
	return Rewritten{Files: []File{{Name: s.Name, Version: version(s.Name), Part: 1, Parts: 1, NoTransaction: s.NoTransaction, SQL: s.text}}}
}

// Live is for a database in use. Each file of the result is a goose file that holds a lock that blocks somebody on one
// table at a time and for a moment only, but for what Hazards lists. Down is copied into the first file. Rewriting one of
// the files again changes nothing.
//
// A script whose parts depend on one transaction stays whole: one that sets parameters, begins or ends transactions, or
// copies rows and drops what it copied from.
func Live(s *Script) (Rewritten, error) { return LiveWith(s, Given{}) }

// Given is what is known beside a script when it is rewritten.
type Given struct {
	// Allowed names hazards that a person accepts. With [ColumnOrder], a column gets another type by way of a second column.
	Allowed []string
	// Unproved are jobs that a database's catalog says can't be done in batches, and why: answers to [Rewritten.Asks].
	Unproved map[string]string
	// Partitioned are the tables and indexes among [Rewritten.Relations] that have partitions: what is done concurrently, or NOT
	// VALID, elsewhere, Postgres refuses for them.
	Partitioned map[string]bool
	// Taken are the names that a database has.
	Taken Taken
	// NoDefault are columns that have none in a database, and how that is known: answers to [Rewritten.NotNulls].
	NoDefault map[Column]string
	// Domains are those among [Rewritten.Types] that are domains in a database.
	Domains map[string]Domain
	// Deferred says of those among [Rewritten.Written] what sets it off.
	Deferred map[string]Writes
	// Owners are those of the tables among [Rewritten.Serials] that belong to another role than ours.
	Owners map[string]string
}

// LiveWith is Live with what else is known.
func LiveWith(s *Script, given Given) (Rewritten, error) {
	if s.keep || s.isPopInit() {
		return Offline(s)
	}
	list := make([]*Statement, len(s.Up))
	bare, asked := notNulls(s.Up)
	maps.Copy(bare, given.NoDefault)
	for i, st := range s.Up {
		own := *st
		own.bare, own.domains = bare, given.Domains
		list[i] = &own
	}
	l := &live{script: s.Name, names: map[naming]bool{}, byShadow: slices.Contains(given.Allowed, ColumnOrder), unproved: given.Unproved, partitioned: given.Partitioned, owners: given.Owners, chooser: chooserOf(s.Up, given.Taken)}
	asGiven := part{slices.Clone(list), s.NoTransaction}
	list = indexFirst(withoutLimits(list))
	if !s.NoTransaction {
		list = l.withCopies(list)
	}
	parts := l.settle(part{list, s.NoTransaction}, 0)
	if l.err != nil {
		return s.whole(asGiven, l.err)
	}
	changed := len(parts) > 1 || len(parts) == 1 && !parts[0].same(asGiven)
	cause := s.bound()
	if cause == nil {
		cause = s.oneMoment(parts)
	}
	if cause == nil {
		cause = s.atTheEnd(parts, given.Deferred)
	}
	if changed && cause == nil {
		r := Rewritten{Changed: true, notNulls: asked, relations: l.relations, types: newTypes(s.Up), written: s.written(), serials: l.serials}
		var err error
		if r.Files, err = s.render(parts); err != nil {
			return s.whole(asGiven, err)
		}
		r.asks = asks(parts, s.Name)
		for i, p := range parts {
			hazards := p.hazards()
			r.Files[i].Hazards = hazardNames(hazards)
			r.Hazards = append(r.Hazards, hazards...)
		}
		return r, err
	}
	r, err := Offline(s)
	if err != nil {
		return r, err
	}
	r.Hazards, r.notNulls, r.relations, r.types = asGiven.hazards(), asked, l.relations, newTypes(s.Up)
	r.written, r.serials = s.written(), l.serials
	if changed {
		r.Hazards = append([]Hazard{*cause}, r.Hazards...)
	}
	r.Files[0].Hazards = hazardNames(r.Hazards)
	return r, nil
}

// whole leaves a script as it is because its rewriting can't be written down: the deparser doesn't know all of the grammar.
func (s *Script) whole(given part, cause error) (Rewritten, error) {
	r, err := Offline(s)
	if err != nil {
		return r, err
	}
	first := s.Up[0]
	r.Hazards = append([]Hazard{{Name: NotSplit, File: s.Name, Line: first.Line, Statement: first.SQL, Text: "the script stays as it is: " + cause.Error(),
		Hint: "split it by hand"}}, given.hazards()...)
	r.Files[0].Hazards = hazardNames(r.Hazards)
	return r, nil
}

// part is what goes into one file.
type part struct {
	list []*Statement
	noTx bool
}

func (p part) same(q part) bool {
	if p.noTx != q.noTx || len(p.list) != len(q.list) {
		return false
	}
	for i := range p.list {
		if p.list[i].SQL != q.list[i].SQL {
			return false
		}
	}
	return true
}

// live rewrites one script.
type live struct {
	script string
	names  map[naming]bool // the constraints and indexes that we have named
	*chooser
	// byShadow: a type may change by way of a second column.
	byShadow bool
	unproved map[string]string // [Given.Unproved]
	// partitioned is [Given.Partitioned]; relations are those that it was asked for.
	partitioned map[string]bool
	relations   []string
	owners      map[string]string // [Given.Owners]
	serials     []string          // tables that get a column with a sequence
	err         error
}

// settle splits until nothing changes: that is what makes a second rewriting change nothing. A statement is judged by
// what its own file has created, since the files before it are visible to everybody.
func (l *live) settle(p part, depth int) []part {
	if depth > 50 {
		l.err = fmt.Errorf("rewriting it comes to no end")
	}
	if l.err != nil || len(p.list) == 0 {
		return []part{p}
	}
	pieces := l.split(p)
	if len(pieces) == 1 && pieces[0].same(p) {
		return pieces
	}
	var all []part
	for _, q := range pieces {
		all = append(all, l.settle(q, depth+1)...)
	}
	return all
}

// mode is how a statement wants to be with others.
type mode int

const (
	auto    mode = iota // with its neighbours, unless it takes long or locks another table than they do
	alone               // in a transaction of its own
	outside             // outside any transaction
)

// unit is what must not be pulled apart.
type unit struct {
	list []*Statement
	mode mode
}

// split takes one file apart.
func (l *live) split(p part) []part {
	b := &builder{noTx: p.noTx, scope: newScope()}
	from, to := -1, -1
	if !p.noTx {
		from, to = stretch(p.list)
	}
	for i := 0; i < len(p.list); i++ {
		st := p.list[i]
		var next *Statement
		if i+1 < len(p.list) {
			next = p.list[i+1]
		}
		switch {
		case p.noTx && isPair(st, next):
			b.put(unit{[]*Statement{st, next}, outside})
			i++
		case !p.noTx && isNotNull(st, next):
			b.put(unit{[]*Statement{st, next}, alone})
			i++
		case i == from:
			units := []unit{{p.list[from : to+1], alone}}
			if a := st.node.GetAlterTableStmt(); from == to && a != nil {
				if own := l.retype(st, a, b.scope); own != nil {
					units = own
				}
			}
			for _, u := range units {
				b.put(u)
			}
			i = to
		default:
			units := l.expand(st, b.scope, p.noTx)
			if units == nil && p.noTx {
				units = []unit{{[]*Statement{st}, outside}}
			} else if units == nil {
				units = []unit{{[]*Statement{st}, auto}}
			}
			for _, u := range units {
				b.put(u)
			}
		}
	}
	return b.done()
}

// builder puts units into files.
type builder struct {
	noTx   bool
	parts  []part
	open   part
	scope  *scope // what the open file has created
	strong map[name]bool
}

func (b *builder) cut() {
	if len(b.open.list) > 0 {
		b.parts = append(b.parts, b.open)
	}
	b.open, b.scope, b.strong = part{}, newScope(), map[name]bool{}
}

func (b *builder) done() []part {
	b.cut()
	return b.parts
}

func (b *builder) put(u unit) {
	if u.mode == auto && !b.noTx {
		st := u.list[0]
		a := analyze(st, b.scope)
		if !a.Scan && !a.Rewrite {
			mine := strongLocks(a)
			if !compatible(b.strong, mine) {
				b.cut()
			}
			b.open.list = append(b.open.list, st)
			b.scope = b.scope.after(st.node)
			if b.strong == nil {
				b.strong = map[name]bool{}
			}
			for n := range mine {
				b.strong[n] = true
			}
			return
		}
	}
	b.cut()
	b.parts = append(b.parts, part{u.list, u.mode == outside})
}

func strongLocks(a Analysis) map[name]bool {
	m := map[name]bool{}
	for _, o := range a.Objects {
		if !o.New && o.Lock.BlocksWrites() && o.Kind != "sequence" {
			m[name{o.Schema, o.Name}] = true
		}
	}
	return m
}

// compatible: one set is part of the other, so that no table stays locked while another is waited for.
func compatible(a, b map[name]bool) bool {
	within := func(a, b map[name]bool) bool {
		for n := range a {
			if !b[n] {
				return false
			}
		}
		return true
	}
	return within(a, b) || within(b, a)
}

// made is a statement of ours in the place of another.
func (l *live) made(from *Statement, n *pg.Node) *Statement {
	sql, err := pg.Deparse(&pg.ParseResult{Version: 170007, Stmts: []*pg.RawStmt{{Stmt: n}}})
	if err == nil {
		_, err = pg.Parse(sql)
	}
	if err != nil && l.err == nil {
		l.err = fmt.Errorf("line %d can't be written in another way: %w", from.Line, err)
	}
	return &Statement{File: from.File, Line: from.Line, Column: from.Column, SQL: sql, node: n, scope: from.scope, known: from.known, bare: from.bare, domains: from.domains}
}

// text is a statement of ours that is written as text.
func (l *live) text(from *Statement, sql string) *Statement {
	tree, err := pg.Parse(sql)
	if err == nil && len(tree.Stmts) != 1 {
		err = fmt.Errorf("%d statements instead of one", len(tree.Stmts))
	}
	if err != nil {
		l.err = fmt.Errorf("line %d: %w", from.Line, err)
		return from
	}
	return &Statement{File: from.File, Line: from.Line, Column: from.Column, SQL: sql, node: tree.Stmts[0].Stmt, scope: from.scope, known: from.known, bare: from.bare, domains: from.domains}
}

func clone[T proto.Message](m T) T { return proto.Clone(m).(T) }
