package cmd

import (
	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/journal"
)

// NewAbortCmd is tideover abort.
func NewAbortCmd(std *IO) *cobra.Command {
	return askCmd(std, journal.Abort, "Have a run taken back by the process at work on it",
		`Abort has the process at work on a run end what it does, call a switch off that has begun, and take every step back: blue serves,
as before the run. What it has agreed to is done, by the next process if this one dies. A run without a process is taken back by
tideover rollback.`+whenRefused(journal.Abort))
}
