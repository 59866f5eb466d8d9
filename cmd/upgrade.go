package cmd

import (
	"github.com/tideover/tideover/internal/authserver/schema"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/steps"
)

// upgradeOf is what a runbook says is to be done, with the migrations that come with the program.
func upgradeOf(rb *plan.Runbook, profile *plan.Profile) steps.Upgrade {
	return steps.Upgrade{Runbook: rb, Profile: profile, Bundled: schema.Files()}
}
