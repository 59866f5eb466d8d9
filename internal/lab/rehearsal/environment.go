package rehearsal

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tideover/tideover/internal/lab/deployment"
	"github.com/tideover/tideover/plan"
)

// environment resolves a runbook's ${…} references: the deployment's own first. A variable that the runbook of a real run
// needs and that is not set here gets no value from us: a rehearsal must show that it is missing, too.
func environment(s *deployment.Deployment) func(string) (string, bool) {
	of := s.Environment()
	return func(name string) (string, bool) {
		if v, ok := of[name]; ok {
			return v, true
		}
		return os.LookupEnv(name)
	}
}

// anyDeployment resolves a runbook's references before there is a deployment: those of a deployment to something of their kind.
func anyDeployment(name string) (string, bool) {
	switch {
	case !slices.Contains(deployment.Variables(), name):
		return os.LookupEnv(name)
	case strings.HasSuffix(name, "_DSN"):
		return "postgres://deployment/" + name, true
	}
	return "http://deployment/" + name, true
}

// onDeployment replaces what a runbook says of its sides and its router by the deployment's: a rehearsal must never touch the
// databases of a real run, however they are written there. A migration command of the deployment's new server is run with the
// program that plays it.
func onDeployment(rb *plan.Runbook, s *deployment.Deployment) {
	rb.Blue = plan.Service{DSN: s.BlueDSN, Public: s.BlueServer.Public, Admin: s.BlueServer.Admin}
	rb.Green = plan.Service{DSN: s.GreenDSN, Public: s.GreenServer.Public, Admin: s.GreenServer.Admin}
	rb.Router = &plan.Router{Admin: []string{s.RouterControl}, Token: s.RouterToken}
	rb.Control, rb.Notify = plan.Control{}, nil
	for _, step := range rb.Steps {
		if m, ok := step.Config.(*plan.MigrateSpec); ok && len(m.Command) > 0 {
			if program := s.Commands()[m.Command[0]]; program != "" {
				m.Command[0] = program
			}
		}
	}
}

// standIns puts files of the deployment in the place of a runbook's participants and jobs: a rehearsal must not switch a
// service of the real run, or stop its jobs. The protocol is the same; a file shows which side it was switched to.
func standIns(rb *plan.Runbook, s *deployment.Deployment, log io.Writer) error {
	played := 0
	play := func(what string, specs []plan.ParticipantSpec) error {
		for i, spec := range specs {
			played++
			path := filepath.Join(s.Directory(), fmt.Sprintf("%s-%d", what, played))
			if err := os.WriteFile(path, []byte("blue\n"), 0o600); err != nil {
				return err
			}
			fmt.Fprintf(log, "%s %q (%s in the runbook) is played by a file\n", what, spec.Name, spec.Kind)
			specs[i] = plan.NewParticipant(spec.Name, &plan.FileSpec{Path: path, Blue: "blue\n", Green: "green\n"})
			specs[i].Timeout = spec.Timeout
		}
		return nil
	}
	for _, step := range rb.Steps {
		var err error
		switch c := step.Config.(type) {
		case *plan.CutoverSpec:
			err = play("participant", c.Participants)
		case *plan.PauseJobsSpec:
			err = play("job", c.Jobs)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
