package plan

import "strings"

// Profile is the knowledge of one OAuth server that a runbook needs: its tables, what a revocation looks like there,
// how its data is repaired, what must hold afterwards, and how its HTTP paths are to be treated. Built in are "bundled"
// and "hydra"; a user can write one. docs/profile.md describes the format.
type Profile struct {
	Name   string `yaml:"name"`
	Schema string `yaml:"schema"` // the Postgres schema of the server's tables; default "public"

	// Others of the server's schemas; their tables are called schema.table wherever the profile names one.
	OtherSchemas []string `yaml:"other_schemas"`

	Tables []Table `yaml:"tables"` // blue's tables that are captured and replayed
	// Others are tables of somebody else in the same database, as "schema.table" or "schema.*": copied, and neither watched nor
	// fenced. Every other table that is not in Tables stops the run when it is written after the copy.
	Others      []string     `yaml:"others"`
	Bookkeeping []string     `yaml:"bookkeeping"` // tables of the migration tool: copied whole, never captured, never compared
	Follow      []Follow     `yaml:"follow"`      // joins that make a row's entity, beyond its foreign keys
	Settled     []Settled    `yaml:"settled"`     // what migrations make of rows by way of others that needs no following
	Dropped     []string     `yaml:"dropped"`     // the server's own indexes, constraints, triggers and views that the migrations drop
	Converted   []ColumnRef  `yaml:"converted"`   // columns whose old values the migrations convert, or leave behind: no new type is asked of them
	Revocations []Revocation `yaml:"revocations"`
	Green       GreenTables  `yaml:"green"`
	CarryBack   []CarryBack  `yaml:"carry_back"` // tables whose rows, as green's clients have left them, go back to blue in a rollback
	Rules       []Rule       `yaml:"rules"`      // clean-up and repair, in order
	Invariants  []Invariant  `yaml:"invariants"` // what validate asks
	Lifetimes   *Lifetimes   `yaml:"lifetimes"`
	HTTP        HTTP         `yaml:"http"`

	Path string `yaml:"-"` // of the file; empty for a built-in one
	Hash string `yaml:"-"` // SHA-256 in hex of the file's bytes

	Content string `yaml:"-"` // SHA-256 in hex of what it says, as Runbook.Content
	Kept    Kept   `yaml:"-"` // the text for the journal

	at func(field, msg, way string) *Error
}

// At is a mistake in a field of the profile, such as "tables[2].key[0]", at its place in the file.
func (p *Profile) At(field, msg, way string) *Error {
	if p.at == nil {
		return &Error{File: p.Name, Field: field, Msg: msg, Way: way}
	}
	return p.at(field, msg, way)
}

// Table is one captured table of blue. Key defaults to the primary key. Keep names columns recorded with each change
// beside the key (never secrets): statements by meaning and kind judgements use them as :name parameters.
type Table struct {
	Name string   `yaml:"name"`
	Key  []string `yaml:"key"`
	Keep []string `yaml:"keep"`
	// Judge is a SQL expression evaluated on blue, when the transaction is over, for a deleted or updated row, with :name parameters of key
	// and keep columns (their OLD values) and :op ('I', 'U', 'D'); it returns the change's kind: 'revoked', 'rotated',
	// 'expired' or 'written'. Empty: every change is 'written'.
	Judge string `yaml:"judge"`
	// Green is where the table's rows live on green. Empty: where the migrations take the table and its key columns,
	// whatever they call them.
	Green TableHome `yaml:"green"`
	// OnDelete is the statement that removes what became of a deleted row on green, with :name parameters of key and
	// keep columns. Empty: DELETE by key where the table's rows live on green.
	OnDelete string `yaml:"on_delete"`
	// Capture is false for a table that is copied and closed over but whose changes need no capture.
	Capture *bool `yaml:"capture"`
}

// TableHome is a table of green with the rows of one of blue's. Key has green's names of blue's key columns, in the order
// of blue's key; empty: the same names.
type TableHome struct {
	Table string   `yaml:"table"`
	Key   []string `yaml:"key"`
}

// Follow is a join: when a row of From is in a delta, the rows of To whose ToColumns equal its FromColumns come along.
// Foreign keys are followed from child to parent without being named here.
type Follow struct {
	From        string   `yaml:"from"`
	FromColumns []string `yaml:"from_columns"`
	To          string   `yaml:"to"`
	ToColumns   []string `yaml:"to_columns"`
}

// Settled says that a statement of the migrations needs no following, although what it makes of a row of Table hangs on rows of On:
// whoever wrote the profile knows that these don't change, or that it is made good otherwise.
type Settled struct {
	File    string `yaml:"file"`  // of the migrations; empty: any
	Table   string `yaml:"table"` // empty: any
	On      string `yaml:"on"`    // empty: any
	Because string `yaml:"because"`
}

// Revocation is one way in which authority is taken away, by meaning.
type Revocation struct {
	Kind string `yaml:"kind"` // such as "chain", "consent", "client"
	// Blue and Green say which changes of a side's tables are this kind, and how the same meaning is applied and checked
	// on that side. The statements have :name parameters of the change's key and keep columns.
	Blue  RevocationSide `yaml:"blue"`
	Green RevocationSide `yaml:"green"`
}

// RevocationSide is a revocation on one side.
type RevocationSide struct {
	// Table and Judge name the changes on this side that are this revocation: a change of Table whose kind is 'revoked'.
	Table string   `yaml:"table"`
	Key   []string `yaml:"key"`
	Keep  []string `yaml:"keep"`
	Judge string   `yaml:"judge"` // green only; blue's is in Table.Judge
	// Apply puts the revocation in force on this side; run again it changes nothing.
	Apply string `yaml:"apply"`
	// Living counts what of the revoked authority is still accepted on this side: 0 means that it is in force.
	Living string `yaml:"living"`
}

// GreenTables says how rows are merged into green's tables.
type GreenTables struct {
	Constants []ColumnRef `yaml:"constants"` // columns that take green's own value (such as a network id), by a SQL expression
	Volatile  []ColumnRef `yaml:"volatile"`  // columns that a migration fills at random: green's value stays on conflict; not compared
	Ignore    []string    `yaml:"ignore"`    // tables that are neither merged nor compared
	// LivingOnly is SQL that lists (kind, key) of sessions that only green knows, for the report of a rollback.
	LivingOnly string `yaml:"living_only"`
}

// CarryBack is a table of blue that gets back, in a rollback after the switch, what green's clients have written to its rows. A
// column that the migrations have only renamed goes back as it is, one whose type they have changed where its text is the same in
// both; columns that green has not got keep what they have on blue.
type CarryBack struct {
	Table   string       `yaml:"table"`   // of blue, one of Tables
	Columns []BackColumn `yaml:"columns"` // blue's columns that are made of others
}

// BackColumn is a column of blue, and the SQL expression that makes its value of a row of green, called g.
type BackColumn struct {
	Column string `yaml:"column"`
	SQL    string `yaml:"sql"`
}

// ColumnRef names a column of a table, and for a constant the SQL expression of its value on green.
type ColumnRef struct {
	Table  string `yaml:"table"`
	Column string `yaml:"column"`
	SQL    string `yaml:"sql"`
}

// Rule repairs rows in place or moves them to quarantine. The same rules run on the bulk copy and on every delta.
type Rule struct {
	Name        string `yaml:"name"`
	Phase       string `yaml:"phase"` // "before" or "after" the migrations
	Description string `yaml:"description"`
	Table       string `yaml:"table"`
	// Where selects the offending rows of Table (alias t). A rule has either Fix or Quarantine.
	Where string `yaml:"where"`
	// Fix is one or more statements that repair the offending rows; run again they change nothing.
	Fix []string `yaml:"fix"`
	// Quarantine moves the rows to tideover.quarantine as JSON.
	Quarantine bool `yaml:"quarantine"`
	// ExpectAtMost is the number of rows above which a person must approve; nil: no limit.
	ExpectAtMost *int64 `yaml:"expect_at_most"`
	// Repair marks a rule that mends what the vendor's migrations corrupt.
	Repair bool `yaml:"repair"`
}

// Invariant is something that must hold. With Blue and Green both set, each is a query of (key text, value text) whose
// rows must be equal on both sides; with Green alone, it lists offenders (key text, value text) and must be empty.
// Key is what a repair from blue needs: the value of the first key column of RepairTable on blue.
type Invariant struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
	Blue        string `yaml:"blue"`
	Green       string `yaml:"green"`
	// RepairTable is blue's table that a difference is repaired from: its key is put into the change queue again.
	RepairTable string `yaml:"repair_table"`
}

// Lifetimes is how access-token lifetimes are raised and restored, on blue.
type Lifetimes struct {
	Read    string `yaml:"read"`    // SQL: (client id, seconds or NULL) of every client
	Write   string `yaml:"write"`   // SQL with :id and :seconds (NULL: the server's default)
	Longest string `yaml:"longest"` // SQL: the longest lifetime in seconds that holds now
}

// HTTP is how the router treats the server's paths. A path pattern is a prefix, or exact with a leading "=".
type HTTP struct {
	Public Listener `yaml:"public"`
	Admin  Listener `yaml:"admin"`
	// Health is the readiness path on the admin and public listener of both sides.
	Health string `yaml:"health"`
	// RefreshPath is the token endpoint, where refresh requests are coalesced.
	RefreshPath string `yaml:"refresh_path"`
	// IntrospectPath is introspection on the admin listener: what a kept refresh answer holds is asked for there before it
	// is given again after a revocation.
	IntrospectPath string `yaml:"introspect_path"`
	// Answers are questions that green's server is asked before the hold, and how it answers them where it works on green's
	// database.
	Answers []Answer `yaml:"answers"`
	// Plant puts a client and a session of ours into green while it is asked, and Uproot takes them away: SQL with :word, a
	// text that nobody else has. No other database has it.
	Plant  []string `yaml:"plant"`
	Uproot []string `yaml:"uproot"`
}

// Answer is a request that has a known outcome.
type Answer struct {
	Listener string `yaml:"listener"` // public or admin
	Method   string `yaml:"method"`   // empty: GET
	Path     string `yaml:"path"`     // as blue has it; {} is a value of SQL, {word} what was planted
	SQL      string `yaml:"sql"`      // query of one text on green, asked for each; empty: asked once
	Status   int    `yaml:"status"`
	Has      string `yaml:"has"` // text that is in the answer's body; {word} is what was planted
}

// Planted says whether the answer is about what was planted.
func (a Answer) Planted() bool { return strings.Contains(a.Path+a.Has, "{word}") }

// Listener has the routes of one listener. The first route that matches counts; without one the request is a write.
type Listener struct {
	Routes []Route `yaml:"routes"`
	// GreenPrefix is put before a path that has not got it when green serves (such as "/admin"); GreenPlain lists paths
	// that stay as they are.
	GreenPrefix string   `yaml:"green_prefix"`
	GreenPlain  []string `yaml:"green_plain"`
}

// Route puts a class on requests: "write" waits during the hold; "login" starts a login and waits too; "introspection"
// and "static" are always served. Methods empty: all.
type Route struct {
	Path    string   `yaml:"path"`
	Methods []string `yaml:"methods"`
	Class   string   `yaml:"class"`
}

// In is what the profile says of the tables of one of its schemas that green's side is compared by, with their names there.
func (p *Profile) In(schema string) *Profile {
	in := &Profile{Schema: schema}
	own := func(table string) (string, bool) {
		of, name := p.Schemas().Place(table)
		return name, of == schema
	}
	for _, table := range p.Bookkeeping {
		if name, is := own(table); is {
			in.Bookkeeping = append(in.Bookkeeping, name)
		}
	}
	for _, table := range p.Green.Ignore {
		if name, is := own(table); is {
			in.Green.Ignore = append(in.Green.Ignore, name)
		}
	}
	columns := func(all []ColumnRef) (some []ColumnRef) {
		for _, c := range all {
			if name, is := own(c.Table); is {
				c.Table = name
				some = append(some, c)
			}
		}
		return some
	}
	in.Green.Constants, in.Green.Volatile = columns(p.Green.Constants), columns(p.Green.Volatile)
	return in
}
