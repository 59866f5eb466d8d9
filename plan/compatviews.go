package plan

import "time"

// CompatViews puts views with explicit columns in front of the tables, for an old server that reads with SELECT *.
const CompatViews StepKind = "compat-views"

// CompatViewsSpec are the fields of a compat-views step.
type CompatViewsSpec struct {
	Role    string        `yaml:"role"`    // the server's; default: blue.role
	Timeout time.Duration `yaml:"timeout"` // how long to wait for the server's old sessions to end
}

var compatViews = kind{
	name:     CompatViews,
	standard: CompatViewsSpec{Timeout: 2 * time.Hour},
	fields: fields{
		"role":    {Doc: "The role that the OAuth server connects as. Default: `blue.role`.", Env: true},
		"timeout": {Doc: "How long to wait until no session of the server is older than the views, and again when they are taken away.", Min: 1},
	},
	check: checked(func(d *decoder, rb *Runbook, path string, c *CompatViewsSpec) {
		if c.Role == "" && rb.Blue.Role == "" {
			d.add(join(path, "role"), "name the role that the OAuth server connects as, here or in blue.role", "missing")
		}
	}),
	order: order{
		needs: []need{{"compat-views", []moment{live}, "views are for a database that is migrated while it serves"}},
	},
}
