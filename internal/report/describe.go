package report

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tideover/tideover/internal/journal"
)

// Describe says in one line what happened. It is empty for events that only machines read: progress, checkpoints and
// figures. What others wrote in it is made safe to print.
func Describe(e journal.Event) string { return Plain(describe(e)) }

func describe(e journal.Event) string {
	switch e.Kind {
	case journal.RunStarted:
		d := data[journal.RunStartedData](e)
		return fmt.Sprintf("run %s: %s, %d steps, runbook %.12s", e.Run, d.Name, len(d.Steps), d.Hash)
	case journal.RunTaken:
		d := data[journal.RunTakenData](e)
		return fmt.Sprintf("run %s: taken by pid %d on %s (term %d)", e.Run, d.PID, d.Host, d.Term)
	case journal.RunStopped:
		d := data[journal.StoppedData](e)
		return fmt.Sprintf("stopped: %s. Next: %s", d.Reason, d.Next)
	case journal.RunUndoing:
		return "going back: " + data[journal.ReasonData](e).Reason
	case journal.RunCompleted:
		return "completed"
	case journal.RunAborted:
		return "aborted: blue is as it was"
	case journal.RunRolledBack:
		return "rolled back: blue serves again"
	case journal.RunAsked:
		d := data[journal.AskedData](e)
		if !d.Done {
			return fmt.Sprintf("%s; refused: %s", d.Why(), d.Answer)
		}
		return fmt.Sprintf("%s; %s", d.Why(), d.Answer)
	case journal.StepStarted:
		return e.Step + ": started"
	case journal.StepNote:
		d := data[journal.NoteData](e)
		if d.Level == "warn" {
			return e.Step + ": warning: " + d.Text
		}
		return e.Step + ": " + d.Text
	case journal.StepFinished:
		d := data[journal.FinishedData](e)
		if d.AlreadyDone {
			return e.Step + ": was done already"
		}
		return fmt.Sprintf("%s: done in %.2f s", e.Step, d.Seconds)
	case journal.StepFailed:
		d := data[journal.FailedData](e)
		d.Error = strings.TrimPrefix(d.Error, fmt.Sprintf("step %q: ", e.Step)) // it is named already
		if d.Hint != "" {
			return fmt.Sprintf("%s: failed: %s (hint: %s)", e.Step, d.Error, d.Hint)
		}
		return fmt.Sprintf("%s: failed: %s", e.Step, d.Error)
	case journal.StepUndoing:
		return e.Step + ": being taken back"
	case journal.StepUndone:
		return e.Step + ": taken back"
	case journal.GateWaiting:
		return e.Step + ": " + data[journal.ReasonData](e).Reason + " (tideover approve)"
	case journal.GateApproved:
		d := data[journal.ApprovedData](e)
		if d.Reason != "" {
			return fmt.Sprintf("%s: approved by %s: %s", e.Step, d.By, d.Reason)
		}
		return e.Step + ": approved by " + d.By
	}
	return describeCutover(e)
}

func describeCutover(e journal.Event) string {
	word, ok := strings.CutPrefix(string(e.Kind), "cutover.")
	if !ok {
		return ""
	}
	switch e.Kind {
	case journal.CutoverPreparing:
		d := data[journal.CutoverData](e)
		return fmt.Sprintf("%s: preparing %s, deadline %d ms", e.Step, strings.Join(d.Participants, ", "), d.DeadlineMS)
	case journal.CutoverCommitting:
		return e.Step + ": committing: the point of no return"
	case journal.CutoverReleased:
		d := data[journal.CutoverFigures](e)
		return fmt.Sprintf("%s: released; writes waited %d ms, %d ms of them fenced", e.Step, d.HoldMS, d.FenceMS)
	case journal.CutoverAborting:
		return e.Step + ": aborting: " + data[journal.ReasonData](e).Reason
	}
	return e.Step + ": " + word
}

// data reads an event's data; what can't be read is the zero value, since showing must not fail.
func data[T any](e journal.Event) T {
	var v T
	if len(e.Data) > 0 {
		_ = json.Unmarshal(e.Data, &v)
	}
	return v
}
