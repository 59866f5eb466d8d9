package plan

// PgbouncerSpec is a PgBouncer and the file that says where its databases are.
type PgbouncerSpec struct {
	DSN   string `yaml:"dsn"` // of the admin console
	Path  string `yaml:"path"`
	Blue  string `yaml:"blue"`  // the file's content for blue
	Green string `yaml:"green"` // the file's content for green
}

var pgbouncerKind = participantKind{
	name:   "pgbouncer",
	config: PgbouncerSpec{},
	fields: fields{
		"dsn":   {Doc: "PgBouncer's admin console.", Required: true, Env: true},
		"path":  {Doc: "the file that is replaced.", Required: true, Env: true},
		"blue":  {Doc: "its content for blue.", Required: true},
		"green": {Doc: "its content for green.", Required: true},
	},
	check: func(d *decoder, path string, config any) { d.checkDSN(join(path, "dsn"), config.(*PgbouncerSpec).DSN) },
}
