package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tideover/tideover/internal/journal"
)

// statusNotes is how many warnings Status shows, the newest.
const statusNotes = 5

// Status writes where a run stands, for "tideover status": what is safe, who is at work, which step, and what to type
// next. Held is who has the run's lease now, nil for nobody. Next is the command to type; where it is empty, the one
// that the run's state asks for is shown.
func Status(w io.Writer, s *journal.State, held *journal.Holder, next string) {
	if s.Seq == 0 {
		fmt.Fprintln(w, "no run has been started")
		return
	}
	field := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-9s %s\n", name, fmt.Sprintf(format, args...))
	}
	field("run", "%s  %s  (%s)", s.Run, Plain(s.Name), Plain(s.Runbook))
	field("is", "%s", doingNow(s, held))
	field("safe", "%s", standingNow(s, held))
	field("at work", "%s", atWork(s, held))
	if s.Stopped != nil && !isStepError(s, s.Stopped.Reason) {
		field("stopped", "%s", cut(Plain(s.Stopped.Reason), 3*textWidth))
	}
	if s.Phase.GoesBack() && s.Reason != "" {
		field("going back", "%s", cut(Plain(s.Reason), 3*textWidth))
	}
	if p := s.Paused; p != nil && held != nil {
		why := ""
		if p.Reason != "" {
			why = ": " + Plain(p.Reason)
		}
		field("paused", "by %s, since %s%s; \"tideover continue\" has it go on", Plain(p.By), clock(p.Since), why)
	}
	if l := s.Limits; l != (journal.Limits{}) && held != nil {
		field("throttled", "copy %s MB/s, replay %s changes/s (0: no limit)", Thousands(l.MaxRate), Thousands(l.MaxChanges))
	}
	if s.Gate != nil {
		field("gate", "%s, since %s", Plain(s.Gate.Reason), clock(s.Gate.Since))
	}
	if c := cutoverNow(s); c != "" {
		field("cutover", "%s", c)
	}
	fmt.Fprintln(w)
	statusSteps(w, s, held)
	statusWarnings(w, s)
	if next == "" {
		next = Next(s, held)
	}
	if next != "" {
		fmt.Fprintf(w, "\ntype next  %s\n", next)
	}
}

// Next is the command that a run's state asks for; "" once it has ended.
func Next(s *journal.State, held *journal.Holder) string {
	switch {
	case s.Phase.Ended():
		return ""
	case s.Phase.IsWaiting() && held != nil && s.Gate != nil:
		return "tideover approve " + s.Runbook + " " + s.Gate.Step
	case held != nil:
		return "tideover status --watch " + s.Runbook
	case s.Phase.IsStopped() && s.Stopped != nil && s.Stopped.Next != "":
		return s.Stopped.Next
	case s.Phase.GoesBack():
		return "tideover rollback " + s.Runbook
	}
	return "tideover resume " + s.Runbook
}

// standingNow is Standing for who only has the journal: whether requests still wait, it can't tell.
func standingNow(s *journal.State, held *journal.Holder) string {
	if held == nil && s.Phase == journal.Switching || s.Phase == journal.SwitchingStopped {
		return "the switch was cut off before the point of no return: resume or rollback gives blue back"
	}
	return Standing(s)
}

// doingNow tells a crashed run from one at work: only the lease knows.
func doingNow(s *journal.State, held *journal.Holder) string {
	since := ", since " + clock(s.Updated)
	if held == nil && !s.Phase.Ended() && !s.Phase.IsStopped() {
		return "abandoned: its process ended without a word; the last is of " + clock(s.Updated)
	}
	if !s.Phase.IsStopped() && !s.Phase.Ended() && !s.Phase.IsWaiting() {
		since = ", started " + clock(s.Started)
	}
	return Doing(s) + since
}

func atWork(s *journal.State, held *journal.Holder) string {
	if held != nil {
		return who(*held) + ", since " + clock(held.Since)
	}
	if s.Holder.Host == "" {
		return "nobody"
	}
	return "nobody; the last was " + who(s.Holder)
}

func who(h journal.Holder) string {
	s := fmt.Sprintf("pid %d on %s", h.PID, Plain(h.Host))
	if h.User != "" {
		s += " (" + Plain(h.User) + ")"
	}
	return s
}

// cutoverNow says how far a switch is that is neither released nor called off.
func cutoverNow(s *journal.State) string {
	switch s.Cutover.Last {
	case "":
		return ""
	case journal.CutoverReleased:
		return fmt.Sprintf("done: writes waited %s ms, %s ms of them fenced", Thousands(s.Cutover.HoldMS), Thousands(s.Cutover.FenceMS))
	case journal.CutoverAborted:
		return "called off at " + clock(s.Cutover.At) + "; nothing is held, nothing is fenced"
	}
	return fmt.Sprintf("%s, since %s", string(s.Cutover.Last)[len("cutover."):], clock(s.Cutover.At))
}

func statusSteps(w io.Writer, s *journal.State, held *journal.Holder) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, st := range s.Steps {
		line := Sign(st.Status) + " " + st.ID
		if text := statusOf(st, held != nil); text != "" {
			line += "\t" + text
		}
		fmt.Fprintln(t, line)
	}
	t.Flush()
	for _, st := range s.Steps {
		if st.Error == "" {
			continue
		}
		fmt.Fprintf(w, "\nerror: %s\n", cut(StepError(st), 4*textWidth))
		if st.Hint != "" {
			fmt.Fprintf(w, "hint: %s\n", cut(Plain(st.Hint), 4*textWidth))
		}
	}
}

// StepError is a step's error on one line; it names the step once.
func StepError(st journal.StepState) string {
	text := Plain(st.Error)
	if strings.HasPrefix(text, fmt.Sprintf("step %q", st.ID)) {
		return text
	}
	return fmt.Sprintf("step %q: %s", st.ID, text)
}

func isStepError(s *journal.State, reason string) bool {
	return slices.ContainsFunc(s.Steps, func(st journal.StepState) bool { return st.Error == reason })
}

func statusOf(st journal.StepState, atWork bool) string {
	switch st.Status {
	case journal.StepIsFinished:
		if st.AlreadyDone {
			return "was done already"
		}
		return seconds(st.Seconds)
	case journal.StepIsRunning:
		if atWork {
			return "running, since " + clock(st.Started)
		}
		return "begun " + clock(st.Started) + ", not finished"
	case journal.StepIsWaiting:
		return "waits for approval"
	case journal.StepIsFailed:
		return "failed"
	case journal.StepIsUndoing:
		return "being taken back"
	case journal.StepIsUndone:
		return "taken back"
	}
	return ""
}

func statusWarnings(w io.Writer, s *journal.State) {
	var warnings []journal.Note
	for _, n := range s.Notes {
		if n.Level == "warn" {
			warnings = append(warnings, n)
		}
	}
	if len(warnings) == 0 {
		return
	}
	fmt.Fprintln(w)
	if extra := len(warnings) - statusNotes; extra > 0 {
		fmt.Fprintf(w, "%s earlier warnings\n", Thousands(extra))
		warnings = warnings[extra:]
	}
	for _, n := range warnings {
		fmt.Fprintf(w, "! %s %s: %s\n", n.Time.UTC().Format(time.TimeOnly), n.Step, cut(Plain(n.Text), 3*textWidth))
	}
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
