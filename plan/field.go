package plan

import "time"

// field is what is known of one field of a runbook or profile besides its Go type. The decoder, the JSON Schemas and the
// reference tables in docs/ all read it, so that they can't disagree.
type field struct {
	Doc      string
	Required bool     // missing, null and "" are mistakes
	Env      bool     // ${NAME} is filled in
	Enum     []string // the words that are taken
	Min, Max int64    // of whole numbers, and of durations in nanoseconds; Max 0: no limit. Nothing may be negative
}

// runbookFields is keyed by "Type.field".
var runbookFields = map[string]field{
	"Runbook.version": {Doc: "Version of the format: 1.", Required: true, Min: 1, Max: 1},
	"Runbook.name":    {Doc: "What the run is called in the journal and the report. Default: the file's name."},
	"Runbook.profile": {Doc: "The OAuth server: the name of a built-in profile, such as `bundled`, or the path of one, relative to the runbook.", Required: true},
	"Runbook.blue":    {Doc: "The database and server in use.", Required: true},
	"Runbook.green":   {Doc: "Their successors. Left out when the upgrade is in place."},
	"Runbook.control": {Doc: "Where the journal lives. Default: schema `tideover` of blue's database."},
	"Runbook.router":  {Doc: "How the router's replicas are reached."},
	"Runbook.locks":   {Doc: "What live traffic may feel of our SQL."},
	"Runbook.steps":   {Doc: "What is done, in order.", Required: true},

	"Side.dsn":         {Doc: "Postgres connection string, as a URL or `key=value` pairs. Needed for blue, and for green when a step works on it.", Env: true},
	"Side.public":      {Doc: "Base URL of the server's public listener. Needed by a cutover.", Env: true},
	"Side.admin":       {Doc: "Base URL of the server's admin listener. Needed by a cutover.", Env: true},
	"Side.server_role": {Doc: "The role that the OAuth server connects as. Empty: any.", Env: true},

	"Control.dsn": {Doc: "Postgres connection string of the journal's database.", Env: true},

	"Router.admin": {Doc: "Base URLs of the replicas' admin listeners.", Required: true, Env: true},
	"Router.token": {Doc: "The bearer token of the router's admin API.", Required: true, Env: true},

	"LockBudget.timeout": {Doc: "How long one attempt waits for a lock.", Min: int64(time.Millisecond)},
	"LockBudget.retry":   {Doc: "How long attempts go on."},

	"StepSpec.step":    {Doc: "The kind of step.", Required: true},
	"StepSpec.id":      {Doc: "The step's name in the journal, unique in the runbook. Default: the kind, with -2, -3 for repeats."},
	"StepSpec.approve": {Doc: "Wait for a person before this step begins."},

	"PreflightSpec.max_transaction": {Doc: "A transaction older than this on blue stops the run.", Min: 1},
	"PreflightSpec.max_clock_skew":  {Doc: "How far the clocks of the two servers may differ.", Min: 1},

	"PreflightSpec.max_query": {Doc: "How long one question to blue may take, such as a count of rows that a new constraint would refuse.", Min: int64(time.Second)},

	"TokenLifetimesSpec.access_token": {Doc: "The lifetime that access tokens are raised to.", Required: true, Min: int64(time.Second)},

	"PauseJobsSpec.jobs": {Doc: "The jobs, each a participant of kind http, exec, file or sql. An empty list says that there are none."},

	"CompatViewsSpec.role":    {Doc: "The role that the OAuth server connects as. Default: `blue.server_role`.", Env: true},
	"CompatViewsSpec.timeout": {Doc: "How long to wait until no session of the server is older than the views, and again when they are taken away.", Min: 1},

	"CaptureSpec.source": {Doc: "Where changes come from. `triggers`: they record each change in its own transaction. `logical`: a logical replication slot on blue, which needs `wal_level = logical` and a role with REPLICATION. `outbox`: a table that the server writes itself.",
		Enum: []string{"triggers", "logical", "outbox"}},
	"CaptureSpec.on_error": {Doc: "With `triggers`: what becomes of a write of the server whose change can't be recorded. `fail`: it fails, too, and nothing is lost. `mark-incomplete`: it goes through, and the run can only be taken back. Each recorded change then takes a savepoint of its own.",
		Enum: []string{"fail", "mark-incomplete"}},
	"CaptureSpec.outbox":     {Doc: "With `outbox`: the table, in the profile's schema or with its own."},
	"CaptureSpec.max_wal_mb": {Doc: "With `logical`: how many MiB of its log blue may have to keep for the slot. Past it the slot is dropped and the run can only be taken back: blue's disk comes first. 0: any."},

	"SnapshotSpec.jobs":       {Doc: "How many tables, or pieces of big ones, are copied at a time, and how many indexes are built besides.", Min: 1, Max: 64},
	"SnapshotSpec.max_rate":   {Doc: "Megabytes a second that are taken from blue at most, by all jobs together. 0: no limit.", Max: 1_000_000},
	"SnapshotSpec.max_lag":    {Doc: "The copy holds while a replica of blue is further behind than this (`replay_lag`). 0s: it never does."},
	"SnapshotSpec.max_active": {Doc: "The copy holds while more sessions than this, ours not counted, are at work on blue's database. 0: it never does.", Max: 100_000},
	"SnapshotSpec.privileges": {Doc: "Owners and grants are copied, too. Their roles must exist on green."},

	"CleanupSpec.phase":        {Doc: "Which rules run: those before or after the migrations.", Required: true, Enum: []string{"before", "after"}},
	"CleanupSpec.approve_rows": {Doc: "Rule → rows that a person has approved, above the rule's `expect_at_most`."},

	"MigrateSpec.target":     {Doc: "`offline`: green. `live`: blue, in place, with lock-safe SQL.", Required: true, Enum: []string{"offline", "live"}},
	"MigrateSpec.as_written": {Doc: "With `offline`: run the files one after the other, each as it is, instead of arranging their statements for speed (docs/offline.md)."},
	"MigrateSpec.source":     {Doc: "`bundled`, or a folder of migrations, relative to the runbook.", Env: true},
	"MigrateSpec.format":     {Doc: "How the folder's files are named: goose's, plain `.sql`, or pop's as Ory's servers have them. Default: goose or pop, as the names say.", Enum: []string{"goose", "plain", "pop"}},
	"MigrateSpec.from":       {Doc: "With `live`: the goose version that blue has already. Files up to it are not looked at for hazards before the run."},
	"MigrateSpec.to":         {Doc: "The goose version to stop at. 0: the newest."},
	"MigrateSpec.command":    {Doc: "The vendor's own migration command, as a list of words. It finds the database in the environment variable DSN."},
	"MigrateSpec.allow": {Doc: "With `live`: the hazards that you accept, by their names (docs/sqlrewrite.md).", Enum: []string{
		"blocks-writes", "blocks-reads", "column-order", "rewrites-table", "holds-lock", "writes-whole-table", "moves-data", "breaks-old-server",
		"loses-data", "fails-on-rows", "opaque", "unknown", "not-split"}},
	"MigrateSpec.defer": {Doc: "With `live`: hazards whose statements wait for `retire`, when the old server is gone; the new server finds its version all the same.",
		Enum: []string{"breaks-old-server", "loses-data"}},
	"MigrateSpec.end_blockers": {Doc: "With `live`: application names whose sessions may be ended when they hold up a lock of ours. Default: none."},

	"ReplaySpec.batch":      {Doc: "Changes in a batch, at most.", Min: 1, Max: 100_000},
	"ReplaySpec.until_lag":  {Doc: "The step is done when no more changes than this wait, or `until_age` is met."},
	"ReplaySpec.until_age":  {Doc: "The step is also done when no change has waited longer than this: on a busy server some always wait."},
	"ReplaySpec.steady_for": {Doc: "The step is done only after the backlog has stayed that small for so long without a break: replay keeps up, and did not just meet a lull."},
	"ReplaySpec.timeout":    {Doc: "How long it may take to get there, `steady_for` included.", Min: 1},

	"ValidateSpec.repair": {Doc: "Repair differences from blue, then ask again."},

	"CutoverSpec.deadline":        {Doc: "From the first hold to the release. Past it the cutover is aborted and blue goes on.", Min: int64(100 * time.Millisecond)},
	"CutoverSpec.drain_logins":    {Doc: "How long logins under way may finish before the hold. 0s: not at all."},
	"CutoverSpec.tries":           {Doc: "How often the switch is tried when its deadline calls it off or a long write is in its way. Replay catches up in between.", Min: 1, Max: 100},
	"CutoverSpec.max_lag":         {Doc: "The hold waits until no more changes than this are left to replay; after a minute the run stops."},
	"CutoverSpec.max_transaction": {Doc: "A transaction older than this on blue keeps the hold from beginning: the fence would have to wait for it.", Min: 1},
	"CutoverSpec.min_disk":        {Doc: "MiB that must be free where each database has its files. It is looked at where our role may, and else said that it was not."},
	"CutoverSpec.window":          {Doc: "When the hold may begin, such as `Sat,Sun 01:00-05:00 Europe/Berlin`; days and zone (default UTC) may be left out. Default: at any time."},
	"CutoverSpec.canary":          {Doc: "How long a share of the introspections is also asked of green before the hold, and the answers compared. Green's are never served. Default: not at all."},
	"CutoverSpec.canary_share":    {Doc: "Which share of them, from 0 to 1.", Max: 1},
	"CutoverSpec.participants":    {Doc: "What must switch together with the router, committed in this order before it."},

	"ParticipantSpec.name":       {Doc: "Its name in the journal, unique in its list.", Required: true},
	"ParticipantSpec.kind":       {Doc: "How it is spoken to; says which of the other fields count.", Required: true, Enum: participantKinds},
	"ParticipantSpec.url":        {Doc: "http: POST URL/prepare, /commit and /abort; GET URL/status.", Env: true},
	"ParticipantSpec.secret":     {Doc: "http: every call is signed with it (docs/cutover.md), so that the service can tell us from others. At least 16 bytes.", Env: true},
	"ParticipantSpec.prepare":    {Doc: "exec: the command that asks whether it can switch, as a list of words."},
	"ParticipantSpec.commit":     {Doc: "exec: the command that switches."},
	"ParticipantSpec.abort":      {Doc: "exec: the command that takes it back."},
	"ParticipantSpec.status":     {Doc: "exec: the command that prints `blue` or `green`."},
	"ParticipantSpec.path":       {Doc: "file, pgbouncer: the file that is replaced.", Env: true},
	"ParticipantSpec.blue":       {Doc: "file, pgbouncer: its content for blue."},
	"ParticipantSpec.green":      {Doc: "file, pgbouncer: its content for green."},
	"ParticipantSpec.dsn":        {Doc: "sql, pgbouncer: the database, or PgBouncer's admin console.", Env: true},
	"ParticipantSpec.commit_sql": {Doc: "sql: the statement that switches; run again it changes nothing."},
	"ParticipantSpec.abort_sql":  {Doc: "sql: the statement that takes it back."},
	"ParticipantSpec.status_sql": {Doc: "sql: returns `blue` or `green`."},
	"ParticipantSpec.timeout":    {Doc: "How long one call may take.", Min: int64(time.Millisecond)},

	"MonitorSpec.for":            {Doc: "How long green is watched.", Required: true, Min: 1},
	"MonitorSpec.max_error_rate": {Doc: "The share of 5xx answers at the router that is too much, from 0 to 1.", Max: 1},
	"MonitorSpec.rollback":       {Doc: "Go back by itself when a limit is passed."},
}

var participantKinds = []string{"http", "exec", "file", "sql", "pgbouncer"}

// profileFields is keyed by "Type.field".
var profileFields = map[string]field{
	"Profile.name":        {Doc: "The server's name.", Required: true},
	"Profile.schema":      {Doc: "The Postgres schema of the server's tables."},
	"Profile.tables":      {Doc: "Blue's tables that are captured and replayed.", Required: true},
	"Profile.bookkeeping": {Doc: "Tables of the migration tool: copied whole, never captured, never compared."},
	"Profile.follow":      {Doc: "Joins that make a row's entity, beyond its foreign keys."},
	"Profile.revocations": {Doc: "The ways in which authority is taken away."},
	"Profile.green":       {Doc: "How rows are merged into green's tables."},
	"Profile.rules":       {Doc: "Clean-up and repair, in order."},
	"Profile.invariants":  {Doc: "What `validate` asks."},
	"Profile.lifetimes":   {Doc: "How access-token lifetimes are raised and restored on blue."},
	"Profile.http":        {Doc: "How the router treats the server's paths."},

	"Table.name":      {Doc: "The table on blue.", Required: true},
	"Table.key":       {Doc: "Its key. Default: the primary key."},
	"Table.keep":      {Doc: "Columns that are recorded with each change beside the key. Never secrets."},
	"Table.judge":     {Doc: "SQL expression, evaluated when the transaction is over: `revoked`, `rotated`, `expired` or `written`. Parameters: key and keep columns (old values) and `:op` (I, U, D). Empty: every change is `written`."},
	"Table.on_delete": {Doc: "The statement that removes what became of a deleted row on green. Empty: DELETE by key from green's table of the same name."},
	"Table.capture":   {Doc: "false: copied and joined, but its changes need no capture. Default: true."},

	"Follow.from":         {Doc: "When a row of this table is in a delta …", Required: true},
	"Follow.from_columns": {Doc: "… the rows that match in these columns …", Required: true},
	"Follow.to":           {Doc: "… of this table …", Required: true},
	"Follow.to_columns":   {Doc: "… in these columns come along.", Required: true},

	"Revocation.kind":  {Doc: "Its name, such as `chain`, `consent` or `client`.", Required: true},
	"Revocation.blue":  {Doc: "On blue."},
	"Revocation.green": {Doc: "On green."},

	"RevocationSide.table":  {Doc: "A change of this table whose kind is `revoked` is this revocation."},
	"RevocationSide.key":    {Doc: "The table's key. Default: the primary key."},
	"RevocationSide.keep":   {Doc: "Columns that are recorded beside the key."},
	"RevocationSide.judge":  {Doc: "Green only, as a table's `judge`."},
	"RevocationSide.apply":  {Doc: "The statement that puts the revocation in force on this side; run again it changes nothing."},
	"RevocationSide.living": {Doc: "Counts what of the revoked authority this side still accepts. 0: it is in force."},

	"GreenTables.constants":   {Doc: "Columns that take green's own value, such as a network id."},
	"GreenTables.volatile":    {Doc: "Columns that a migration fills at random: green's value stays, and is not compared."},
	"GreenTables.ignore":      {Doc: "Tables that are neither merged nor compared."},
	"GreenTables.living_only": {Doc: "Lists (kind, key) of sessions that only green knows, for the report of a rollback."},

	"ColumnRef.table":  {Doc: "The table.", Required: true},
	"ColumnRef.column": {Doc: "The column.", Required: true},
	"ColumnRef.sql":    {Doc: "For a constant: the SQL expression of its value on green."},

	"Rule.name":           {Doc: "Its name, unique in the profile.", Required: true},
	"Rule.phase":          {Doc: "Whether it runs before or after the migrations.", Required: true, Enum: []string{"before", "after"}},
	"Rule.description":    {Doc: "What is wrong with such rows, for the plan and the report."},
	"Rule.table":          {Doc: "The table of the offending rows.", Required: true},
	"Rule.where":          {Doc: "SQL condition of the offending rows; the table's alias is `t`.", Required: true},
	"Rule.fix":            {Doc: "Statements that repair the rows; run again they change nothing. Either this or `quarantine`."},
	"Rule.quarantine":     {Doc: "Move the rows to `tideover.quarantine`."},
	"Rule.expect_at_most": {Doc: "More rows than this need a person's approval. Default: no limit."},
	"Rule.repair":         {Doc: "The rule mends what the vendor's migrations corrupt."},

	"Invariant.name":         {Doc: "Its name, unique in the profile.", Required: true},
	"Invariant.description":  {Doc: "What must hold."},
	"Invariant.blue":         {Doc: "Query of (key text, value text) on blue. With it, both sides must give the same rows."},
	"Invariant.green":        {Doc: "The same on green. Without `blue`, it lists offenders and must be empty.", Required: true},
	"Invariant.repair_table": {Doc: "Blue's table that a difference is repaired from."},

	"Lifetimes.read":    {Doc: "SQL: (client id, seconds or NULL) of every client.", Required: true},
	"Lifetimes.write":   {Doc: "SQL with `:id` and `:seconds` (NULL: the server's default).", Required: true},
	"Lifetimes.longest": {Doc: "SQL: the longest lifetime in seconds that holds now.", Required: true},

	"HTTP.public":          {Doc: "The public listener."},
	"HTTP.admin":           {Doc: "The admin listener."},
	"HTTP.health":          {Doc: "The readiness path on both listeners of both sides."},
	"HTTP.refresh_path":    {Doc: "The token endpoint, where refresh requests are coalesced."},
	"HTTP.introspect_path": {Doc: "Introspection on the admin listener, as blue has it: asked before an answer is given again that a revocation has put in doubt. Without it the retry goes to the server."},

	"Listener.routes":       {Doc: "The first route that matches counts; without one the request is a write."},
	"Listener.green_prefix": {Doc: "Put before a path that has not got it when green serves, such as `/admin`."},
	"Listener.green_plain":  {Doc: "Paths that stay as they are."},

	"Route.path":    {Doc: "A prefix; exact with a leading `=`.", Required: true},
	"Route.methods": {Doc: "Default: all."},
	"Route.class":   {Doc: "`write` and `login` wait during the hold; `introspection` and `static` are always served.", Required: true, Enum: []string{"write", "login", "introspection", "static"}},
}

// fieldOf looks up what is known of a field. Every field has an entry; a test holds that.
func fieldOf(typeName, name string) field {
	if f, ok := runbookFields[typeName+"."+name]; ok {
		return f
	}
	return profileFields[typeName+"."+name]
}
