package sqlrewrite

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Work is what a step of a rewritten file does, as far as running it well depends on it.
type Work string

// The kinds of work.
const (
	Moment  Work = "moment"  // holds its locks for a moment: wait briefly for them, and try again
	Reading Work = "reading" // reads a whole table behind a lock that blocks nobody: VALIDATE CONSTRAINT
	Indexes Work = "indexes" // builds, rebuilds or drops indexes concurrently: wait for minutes, it blocks nobody
	Batches Work = "batches" // a back-fill; its job's row in [BackfillTable] says how far it is
	Detach  Work = "detach"  // takes a partition off concurrently
)

// Step is what is run, and tried again, as one: a whole file in a transaction, or a statement outside one together with
// what must be looked after before it.
type Step struct {
	Statements  []*Statement
	Work        Work
	Transaction bool   // a transaction takes it; what is stored about it belongs in there
	Tables      int    // how many tables are locked such that others wait
	Job         string // of Batches
}

// Steps takes a file of [Live] apart.
func (f File) Steps() ([]Step, error) {
	s, err := Parse(f.Name, f.SQL)
	if err != nil {
		return nil, err
	}
	if !f.NoTransaction {
		step := Step{Statements: s.Up, Work: Moment, Transaction: true}
		tables := map[name]bool{}
		for i, st := range s.Up {
			a := Analyze(st)
			for n := range strongLocks(a) {
				tables[n] = true
			}
			proved := i+1 < len(s.Up) && isNotNull(st, s.Up[i+1])
			if a.Scan && !proved {
				step.Work = Reading
			}
		}
		step.Tables = len(tables)
		return []Step{step}, nil
	}
	var steps []Step
	for i := 0; i < len(s.Up); i++ {
		st := s.Up[i]
		step := Step{Statements: []*Statement{st}, Work: Reading}
		if i+1 < len(s.Up) && isPair(st, s.Up[i+1]) {
			i++
			step.Statements = append(step.Statements, s.Up[i])
		}
		last := step.Statements[len(step.Statements)-1]
		if b, _, ok := batched(last); ok {
			step.Work, step.Job = Batches, b.job
		} else if _, _, ok := last.Detached(); ok {
			step.Work = Detach
		} else if concurrent(last.node) {
			step.Work = Indexes
		} else if a := Analyze(last); !a.Scan && !a.Rewrite {
			step.Work, step.Tables = Moment, len(strongLocks(a))
		}
		if step.Work == Moment || step.Work == Reading {
			step.Transaction = canBeInside(last.node)
		}
		steps = append(steps, step)
	}
	return steps, nil
}

// canBeInside: the statement may be run in a transaction although its file has none: then it is noted as done with it.
func canBeInside(n *pg.Node) bool {
	switch v := n.GetNode().(type) {
	case *pg.Node_VacuumStmt:
		return !v.VacuumStmt.IsVacuumcmd // ANALYZE
	case *pg.Node_ReindexStmt:
		return v.ReindexStmt.Relation != nil
	case *pg.Node_ClusterStmt:
		return v.ClusterStmt.Relation != nil
	case *pg.Node_DoStmt, *pg.Node_CallStmt, *pg.Node_TransactionStmt, *pg.Node_AlterSystemStmt, *pg.Node_CreatedbStmt, *pg.Node_DropdbStmt,
		*pg.Node_AlterDatabaseStmt, *pg.Node_CreateTableSpaceStmt, *pg.Node_DropTableSpaceStmt, *pg.Node_CreateSubscriptionStmt, *pg.Node_DropSubscriptionStmt,
		*pg.Node_AlterSubscriptionStmt, *pg.Node_DiscardStmt, *pg.Node_VariableSetStmt:
		return false
	}
	return true
}

func concurrent(n *pg.Node) bool {
	return n.GetIndexStmt().GetConcurrent() || n.GetDropStmt().GetConcurrent() || option(n.GetReindexStmt().GetParams(), "concurrently")
}

// Shape is a query without its values, for a message: nothing that somebody's row holds is left in it. Text that is no
// SQL gives its first word.
func Shape(sql string) string {
	const most = 120
	shape, err := pg.Normalize(sql)
	if err != nil {
		word, _, _ := strings.Cut(strings.TrimSpace(sql), " ")
		if i := strings.IndexFunc(word, func(r rune) bool { return r != '_' && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') }); i >= 0 {
			word = word[:i]
		}
		return word + " …"
	}
	shape = strings.Join(strings.Fields(shape), " ")
	if r := []rune(shape); len(r) > most {
		shape = string(r[:most]) + "…"
	}
	return shape
}
