package look

import (
	"fmt"
	"strings"
	"time"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/report"
)

// Way is a way on: a command, what it leads to, and what it costs.
type Way struct {
	Command string `json:"command"`
	Does    string `json:"does"`
	Costs   string `json:"costs"`
}

// Ways are the ways on from where a run stands. held says that a process is at work on it, named how a person names the run:
// the runbook's file, or its id. deadline is the cutover's.
func Ways(s *journal.State, held bool, named string, deadline time.Duration) []Way {
	way := func(command, does, costs string) Way { return Way{"tideover " + command + " " + named, does, costs} }
	hold := "clients wait in the cutover, as long as its hold takes"
	if deadline > 0 {
		hold = fmt.Sprintf("clients wait in the cutover, %s at most", deadline)
	}
	back := way("rollback", "goes back to blue: writes are held, revocations made on green are brought along", "clients wait some seconds; sessions that only green knows end")
	rollback := func() []Way {
		if _, oneWay := report.OneWay(s); oneWay {
			return nil
		}
		return []Way{back}
	}
	switch {
	case s.Seq == 0 || s.Phase.Ended():
		return nil
	case s.Phase.GoesBack() && held:
		return []Way{way("status --watch", "follows the way back, which goes on by itself", "nothing")}
	case s.Phase == journal.RollingBack || s.Phase == journal.RollingBackStopped:
		return []Way{way("rollback", "goes on with the way back to blue, which has begun", "clients wait, or are refused, until it is through")}
	case s.Phase.GoesBack():
		return []Way{way("rollback", "goes on with taking the run back, which has begun", "nothing: blue serves")}
	case s.Phase == journal.Committing || s.Phase == journal.CommittingStopped:
		if held {
			return []Way{way("status --watch", "follows the switch, which is tried until it is through", "nothing")}
		}
		return append([]Way{way("resume", "completes the switch: green serves", "nothing more: writes are refused until it is through")}, rollback()...)
	case s.PastPointOfNoReturn:
		if held && s.Gate != nil {
			return []Way{
				{"tideover approve " + named + " " + s.Gate.Step, "lets " + s.Gate.Step + " begin", "nothing"},
				{"tideover deny " + named + " " + s.Gate.Step, "puts the run down before " + s.Gate.Step, "nothing: green serves"},
			}
		}
		if held {
			return []Way{way("status --watch", "follows the run, which goes on by itself; stop it before a rollback", "nothing")}
		}
		return append([]Way{way("resume", "goes on with "+next(s)+"; green serves", "nothing")}, rollback()...)
	}
	if held {
		if s.Gate != nil {
			return []Way{
				{"tideover approve " + named + " " + s.Gate.Step, "lets " + s.Gate.Step + " begin", hold},
				{"tideover deny " + named + " " + s.Gate.Step, "puts the run down before " + s.Gate.Step, "nothing: blue serves"},
				way("abort", "takes the run back", undoCost(s)),
			}
		}
		if s.Phase == journal.Switching {
			return []Way{way("abort", "calls the switch off and takes the run back", undoCost(s))}
		}
		if s.Paused != nil {
			return []Way{way("continue", "has the run go on", "nothing"), way("abort", "takes the run back", undoCost(s))}
		}
		return []Way{way("pause", "has the run wait at its next safe point", "nothing: blue serves"), way("abort", "takes the run back", undoCost(s))}
	}
	ways := []Way{way("resume", "goes on with "+next(s), hold+"; until then nobody notices")}
	if id, oneWay := report.OneWay(s); oneWay {
		ways[0].Does += fmt.Sprintf("; there is no way back: step %q can't be taken back", id)
		return ways
	}
	return append(ways, way("rollback", "takes the run back: blue serves on, as before it", undoCost(s)))
}

func next(s *journal.State) string {
	if st, ok := s.Current(); ok {
		return "step " + st.ID
	}
	return "its end"
}

// undoCost is the work that is lost.
func undoCost(s *journal.State) string {
	var lost []string
	for _, st := range s.Steps {
		if st.Begun() && st.Seconds >= 1 {
			lost = append(lost, fmt.Sprintf("%s (%s)", st.ID, report.Took(time.Duration(st.Seconds*float64(time.Second)))))
		}
	}
	if len(lost) == 0 {
		return "nothing: blue serves"
	}
	return "blue serves; a new run does again " + strings.Join(lost, ", ")
}
