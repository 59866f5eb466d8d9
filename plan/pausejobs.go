package plan

// PauseJobs stops downstream clean-up jobs; they go on after validation, or on every way out.
const PauseJobs StepKind = "pause-jobs"

// PauseJobsSpec are the fields of a pause-jobs step.
type PauseJobsSpec struct {
	Jobs []ParticipantSpec `yaml:"jobs"`
}

var pauseJobs = kind{
	name:     PauseJobs,
	standard: PauseJobsSpec{},
	fields: fields{
		"jobs": {Doc: "The jobs, each a participant of kind http, exec, file or sql. An empty list says that there are none."},
	},
	check: checked(func(d *decoder, _ *Runbook, path string, c *PauseJobsSpec) {
		d.checkParticipants(join(path, "jobs"), c.Jobs, jobKinds())
	}),
	commands: func(config any) []command { return commandsOf("job ", config.(*PauseJobsSpec).Jobs) },
}
