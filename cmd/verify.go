package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/steps"
)

const verifyLong = `Verify compares blue and green and changes nothing on them: the profile's invariants, and every revocation that was
captured on blue, by kind: captured, replayed, and refused by green. Whoever differs is named by key.

With --full it also migrates blue's present state offline, in a database on green's server that is dropped again, and
compares that with green, table by table, row by row, column by column. It takes as long as the copy and the migration of
the run did, and as much room.

While blue serves, rows are on their way: a difference counts when it lasts through three rounds, and what replay has still
to bring counts as waiting. Once green serves, rows that green's own clients have changed since the switch are counted
apart. What is deleted on green since, in tables without revocations, can't be told from what never came.
` + targetHelp + `

EXIT STATUS
  0 no difference  1 failed  2 usage  5 blue and green differ`

// NewVerifyCmd is tideover verify.
func NewVerifyCmd(std *IO) *cobra.Command {
	var asJSON, full bool
	var f targetFlags
	c := &cobra.Command{
		Use:   "verify [RUNBOOK]",
		Short: "Compare blue and green: invariants, revocations, and with --full every row",
		Long:  verifyLong,
		Args:  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			path, _, err := f.split(std, c, args, 0, "one runbook")
			if err != nil {
				return err
			}
			t, err := f.open(ctx, std, path, false)
			var none *noRunError
			var state journal.State
			switch {
			case errors.As(err, &none) && f.run == "": // two databases can be compared without a run
				t = &target{}
				if t.rb, t.profile, err = loadRunbook(path, std.Env); err != nil {
					return err
				}
			case err != nil:
				return err
			default:
				defer t.close()
				if state, err = t.state(ctx); err != nil {
					return err
				}
			}
			v, err := steps.Verify(ctx, upgradeOf(t.rb, t.profile), state, full)
			if err != nil {
				return err
			}
			if asJSON {
				err = json.NewEncoder(std.Out).Encode(&v)
			} else {
				printVerdict(std.Out, &v)
			}
			if err == nil && v.Differ() > 0 {
				err = &differError{n: v.Differ(), full: full}
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the verdict as JSON")
	c.Flags().BoolVar(&full, "full", false, "also migrate blue's state offline and compare every row")
	f.add(c)
	return c
}

// differError is a verdict of differences, which have been printed.
type differError struct {
	n    int64
	full bool
}

func (e *differError) Error() string { return fmt.Sprintf("blue and green differ in %d places", e.n) }

// Hint says how to go on.
func (e *differError) Hint() string {
	return "a row that is wrong on green comes over again when it is written on blue, or with repair: true on a validate step; a parked change names its error"
}

// ExitCode is 5: blue and green differ.
func (e *differError) ExitCode() int { return ExitDiffer }

// shown is how many differences of a sort are printed; --json prints all.
const shown = 50

func printVerdict(w io.Writer, v *steps.Verdict) {
	fmt.Fprintf(w, "serving      %s\n", v.Serving)
	fmt.Fprintf(w, "invariants   %d asked, %d differences\n", v.Invariants.Asked, len(v.Invariants.Differences))
	list(w, v.Invariants.Differences)
	if r := v.Revocations; r == nil {
		fmt.Fprintln(w, "revocations  nothing is recorded on blue: no run captures there")
	} else {
		fmt.Fprintf(w, "revocations  %d captured, %d replayed, %d refused by green; %d asked, %d differences, %d waiting for replay\n",
			r.Captured, r.Replayed, r.Verified, r.Asked, len(r.Differences), r.Waiting)
		for _, kind := range slices.Sorted(maps.Keys(r.Kinds)) {
			k := r.Kinds[kind]
			fmt.Fprintf(w, "  %-12s %d captured, %d replayed, %d refused\n", kind, k.Captured, k.Replayed, k.Verified)
		}
		list(w, r.Differences)
	}
	if f := v.Full; f != nil {
		fmt.Fprintf(w, "every row    %d tables, %d rows compared, %d differences", f.Tables, f.Rows, f.Count)
		if f.Later > 0 {
			fmt.Fprintf(w, ", %d rows changed by green's clients since the switch", f.Later)
		}
		fmt.Fprintln(w)
		list(w, f.Differences)
	}
}

func list[D any](w io.Writer, differences []D) {
	for i, d := range differences {
		if i == shown {
			fmt.Fprintf(w, "  … and %d more\n", len(differences)-i)
			return
		}
		fmt.Fprintf(w, "  %v\n", d)
	}
}
