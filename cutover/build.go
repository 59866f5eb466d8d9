package cutover

import (
	"fmt"
	"strings"
	"time"

	"github.com/tideover/tideover/plan"
)

// kinds build the participants of each kind that a runbook knows.
var kinds = []kind{of(newHTTP), of(newExec), of(newFile), of(newSQL), of(newPgbouncer)}

// kind builds a participant out of its kind's own fields, and gives nil for those of another kind.
type kind func(b base, config any) (Participant, error)

func of[C any](build func(b base, config *C) (Participant, error)) kind {
	return func(b base, config any) (Participant, error) {
		own, ok := config.(*C)
		if !ok {
			return nil, nil
		}
		return build(b, own)
	}
}

// base is what every kind embeds.
type base struct {
	name    string
	timeout time.Duration // one call
}

// Name is the participant's name in the journal.
func (b base) Name() string { return b.name }

// Build makes the participant that a runbook describes. It opens no connection.
func Build(spec plan.ParticipantSpec) (Participant, error) {
	if missing := spec.Missing(); len(missing) > 0 {
		return nil, fmt.Errorf("participant %q: kind %s needs %s", spec.Name, spec.Kind, strings.Join(missing, ", "))
	}
	for _, k := range kinds {
		p, err := k(base{spec.Name, spec.Timeout}, spec.Config)
		if err != nil {
			return nil, fmt.Errorf("participant %q: %w", spec.Name, err)
		}
		if p != nil {
			return p, nil
		}
	}
	return nil, fmt.Errorf("participant %q: nothing is built for kind %q", spec.Name, spec.Kind)
}
