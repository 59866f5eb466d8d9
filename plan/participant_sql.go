package plan

// SQLSpec is a flag in a table.
type SQLSpec struct {
	DSN       string `yaml:"dsn"`
	CommitSQL string `yaml:"commit_sql"`
	AbortSQL  string `yaml:"abort_sql"`
	StatusSQL string `yaml:"status_sql"` // returns 'blue' or 'green'
}

var sqlKind = participantKind{
	name:   "sql",
	config: SQLSpec{},
	fields: fields{
		"dsn":        {Doc: "the database.", Required: true, Env: true},
		"commit_sql": {Doc: "the statement that switches; run again it changes nothing.", Required: true},
		"abort_sql":  {Doc: "the statement that takes it back.", Required: true},
		"status_sql": {Doc: "returns `blue` or `green`.", Required: true},
	},
	check: func(d *decoder, path string, config any) { d.checkDSN(join(path, "dsn"), config.(*SQLSpec).DSN) },
	job:   true,
}
