package rehearsal

import (
	"os"

	"github.com/tideover/tideover/internal/stage"
	"github.com/tideover/tideover/plan"
)

// environment resolves a runbook's ${…} references: the stage's own first. A variable that the runbook of a real run
// needs and that is not set here gets no value from us: a rehearsal must show that it is missing, too.
func environment(s *stage.Stage) func(string) (string, bool) {
	of := s.Environment()
	return func(name string) (string, bool) {
		if v, ok := of[name]; ok {
			return v, true
		}
		return os.LookupEnv(name)
	}
}

// onStage replaces what a runbook says of its sides and its router by the stage's: a rehearsal must never touch the
// databases of a real run, however they are written there.
func onStage(rb *plan.Runbook, s *stage.Stage) {
	rb.Blue = plan.Side{DSN: s.BlueDSN, Public: s.BlueServer.Public, Admin: s.BlueServer.Admin}
	rb.Green = plan.Side{DSN: s.GreenDSN, Public: s.GreenServer.Public, Admin: s.GreenServer.Admin}
	rb.Router = &plan.Router{Admin: []string{s.RouterControl}, Token: s.RouterToken}
	rb.Control = plan.Control{}
}
