package plan

// profileFields is keyed by "Type.field".
var profileFields = map[string]field{
	"Profile.name":          {Doc: "The server's name.", Required: true},
	"Profile.schema":        {Doc: "The Postgres schema of the server's tables."},
	"Profile.other_schemas": {Doc: "Other schemas with tables of the server. Such a table is called `schema.table` wherever the profile names one; in SQL it is written with its schema."},
	"Profile.tables":        {Doc: "Blue's tables that are captured and replayed.", Required: true},
	"Profile.others":        {Doc: "Tables of somebody else in the same database, as `schema.table` or `schema.*`: copied, and neither watched nor fenced. Any other table that is not in `tables` stops the run when it is written after the copy."},
	"Profile.bookkeeping":   {Doc: "Tables of the migration tool: copied whole, never captured, never compared."},
	"Profile.follow":        {Doc: "Joins that make a row's entity, beyond its foreign keys."},
	"Profile.dropped":       {Doc: "Names of the server's own indexes and constraints, of tables that stay, and triggers and views that the migrations drop. Preflight names all others that go: they are the company's."},
	"Profile.converted":     {Doc: "Columns of blue whose values the migrations convert, or leave behind: preflight counts none that the new type would refuse. What the conversion stumbles over is for the rules."},
	"Profile.settled":       {Doc: "What migrations make of a row by way of others, where that needs no following."},
	"Profile.revocations":   {Doc: "The ways in which authority is taken away."},
	"Profile.green":         {Doc: "How rows are merged into green's tables."},
	"Profile.carry_back":    {Doc: "Tables whose rows, as green's clients have left them, go back to blue in a rollback after the switch."},
	"Profile.rules":         {Doc: "Clean-up and repair, in order."},
	"Profile.invariants":    {Doc: "What `validate` asks."},
	"Profile.lifetimes":     {Doc: "How access-token lifetimes are raised and restored on blue."},
	"Profile.http":          {Doc: "How the router treats the server's paths."},

	"Table.name":      {Doc: "The table on blue.", Required: true},
	"Table.key":       {Doc: "Its key. Default: the primary key."},
	"Table.keep":      {Doc: "Columns that are recorded with each change beside the key. Never secrets."},
	"Table.judge":     {Doc: "SQL expression, evaluated when the transaction is over: `revoked`, `rotated`, `expired` or `written`. Parameters: key and keep columns (old values) and `:op` (I, U, D). It is asked about inserts where it names `'I'`, as for a deny list, with the new values. Empty: every change is `written`."},
	"Table.green":     {Doc: "Where the table's rows live on green. Default: where the migrations take the table and its key columns, whatever they call them."},
	"Table.on_delete": {Doc: "The statement that removes what became of a deleted row on green. Empty: DELETE by key where the table's rows live on green."},
	"Table.capture":   {Doc: "false: copied and joined, but its changes need no capture. Default: true."},

	"TableHome.table": {Doc: "The table on green.", Required: true},
	"TableHome.key":   {Doc: "What the key columns are called there, in the order of blue's key. Default: the same."},

	"Follow.from":         {Doc: "When a row of this table is in a delta …", Required: true},
	"Follow.from_columns": {Doc: "… the rows that match in these columns …", Required: true},
	"Follow.to":           {Doc: "… of this table …", Required: true},
	"Follow.to_columns":   {Doc: "… in these columns come along.", Required: true},

	"Settled.file":    {Doc: "The migration. Default: any."},
	"Settled.table":   {Doc: "The table whose rows hang on others, as the refusal names it. Default: any."},
	"Settled.on":      {Doc: "The table that they hang on. Default: any."},
	"Settled.because": {Doc: "Why nothing can go wrong by it during the upgrade.", Required: true},

	"Revocation.kind":  {Doc: "Its name, such as `chain`, `consent` or `client`.", Required: true},
	"Revocation.blue":  {Doc: "On blue."},
	"Revocation.green": {Doc: "On green."},

	"RevocationSide.table":  {Doc: "A change of this table whose kind is `revoked` is this revocation."},
	"RevocationSide.key":    {Doc: "The columns that name what was revoked, in the same order on both sides. Default: the table's key."},
	"RevocationSide.keep":   {Doc: "Columns that are recorded beside the key."},
	"RevocationSide.judge":  {Doc: "Green only, as a table's `judge`."},
	"RevocationSide.apply":  {Doc: "The statement that puts the revocation in force on this side; run again it changes nothing."},
	"RevocationSide.living": {Doc: "Counts what of the revoked authority this side still accepts. 0: it is in force."},

	"GreenTables.constants":   {Doc: "Columns that take green's own value, such as a network id."},
	"GreenTables.volatile":    {Doc: "Columns that a migration fills at random: green's value stays, and is not compared."},
	"GreenTables.ignore":      {Doc: "Tables that are neither merged nor compared."},
	"GreenTables.living_only": {Doc: "Lists (kind, key) of sessions that only green knows, for the report of a rollback."},

	"CarryBack.table":   {Doc: "The table on blue, one of `tables`.", Required: true},
	"CarryBack.columns": {Doc: "Blue's columns that are made of others of green. All others go back as they are."},

	"BackColumn.column": {Doc: "The column of blue; none of its key.", Required: true},
	"BackColumn.sql":    {Doc: "The SQL expression of its value, of a row `g` of green's table.", Required: true},

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
	"HTTP.answers":         {Doc: "What green's server is asked before the hold (guardrail `green-answers`). Each is a request that it answers so only where it works on green's database, with blue's secrets. Those that change nothing and are not about `plant` are asked again by `monitor`."},
	"HTTP.plant":           {Doc: "Statements that put a client and a session of ours into green while its server is asked for them, past green's fence; `:word` is a text that nobody else has. So a server on a copy of green's database is known, too."},
	"HTTP.uproot":          {Doc: "Statements that take away what `plant` has put there, also what a killed process has left: by names of your own, not by `:word`."},

	"Answer.listener": {Doc: "Where it is asked.", Required: true, Enum: []string{"public", "admin"}},
	"Answer.method":   {Doc: "Default: GET. Green's fence is up: a request that writes is right when it is refused.", Enum: []string{"GET", "POST", "DELETE"}},
	"Answer.path":     {Doc: "The path, as blue has it. `{}` stands for a value of `sql`, `{word}` for that of `plant`.", Required: true},
	"Answer.sql":      {Doc: "Query of one text on green; it is asked for each row. Default: asked once."},
	"Answer.status":   {Doc: "The status that is right, such as 200.", Required: true},
	"Answer.has":      {Doc: "Text that the answer must have in it; `{word}` is that of `plant`. Default: only the status counts."},

	"Listener.routes":       {Doc: "The first route that matches counts; without one the request is a write."},
	"Listener.green_prefix": {Doc: "Put before a path that has not got it when green serves, such as `/admin`."},
	"Listener.green_plain":  {Doc: "Paths that stay as they are."},

	"Route.path":    {Doc: "A prefix; exact with a leading `=`.", Required: true},
	"Route.methods": {Doc: "Default: all."},
	"Route.class":   {Doc: "`write` and `login` wait during the hold; `introspection` and `static` are always served.", Required: true, Enum: []string{"write", "login", "introspection", "static"}},
}
