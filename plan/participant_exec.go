package plan

import "slices"

// ExecSpec is programs, each a list of words: exit status 0 is a yes, and status prints blue or green.
type ExecSpec struct {
	Prepare []string `yaml:"prepare"`
	Commit  []string `yaml:"commit"`
	Abort   []string `yaml:"abort"`
	Status  []string `yaml:"status"`
	Env     []string `yaml:"env"`
}

var execKind = participantKind{
	name:   "exec",
	config: ExecSpec{},
	fields: fields{
		"prepare": {Doc: "the command that asks whether it can switch, as a list of words."},
		"commit":  {Doc: "the command that switches.", Required: true},
		"abort":   {Doc: "the command that takes it back.", Required: true},
		"status":  {Doc: "the command that prints `blue` or `green`.", Required: true},
		"env":     {Doc: "names of environment variables that the commands get beside `PATH`, `HOME`, `LANG` and the like."},
	},
	check: func(d *decoder, path string, config any) {
		c := config.(*ExecSpec)
		d.checkWords(join(path, "prepare"), c.Prepare)
		d.checkWords(join(path, "commit"), c.Commit)
		d.checkWords(join(path, "abort"), c.Abort)
		d.checkWords(join(path, "status"), c.Status)
	},
	words: func(config any) []string {
		c := config.(*ExecSpec)
		return slices.Concat(c.Prepare, c.Commit, c.Abort, c.Status)
	},
	job: true,
}
