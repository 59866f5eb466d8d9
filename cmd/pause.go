package cmd

import (
	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/journal"
)

// NewPauseCmd is tideover pause.
func NewPauseCmd(std *IO) *cobra.Command {
	return askCmd(std, journal.Pause, "Have a run wait at its next safe point",
		`Pause has the process at work on a run wait at its next safe point: the copy between two pieces (its snapshot on blue stays open),
replay between two batches (what is captured waits in the queue), the run before its next step. A migration under way comes to
its end first. Nobody's requests wait for it. Tideover continue has it go on.`+whenRefused(journal.Pause))
}

// NewContinueCmd is tideover continue.
func NewContinueCmd(std *IO) *cobra.Command {
	return askCmd(std, journal.Continue, "Have a paused run go on",
		`Continue has a run go on that tideover pause has stopped. A run without a process is taken over by tideover resume.`)
}
