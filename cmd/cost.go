package cmd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tideover/tideover/steps"
)

// costWithin is how long somebody who wants to go back waits to hear what it costs.
const costWithin = 30 * time.Second

// asking has a run that is taken to go back say first what that costs, and a person agree to it.
func asking(std *IO, yes bool, take begin) begin {
	return func(ctx context.Context, o steps.Options) (*steps.Session, error) {
		s, err := take(ctx, o)
		if err != nil || s.State().Phase.GoesBack() || !s.State().PastPointOfNoReturn {
			return s, err
		}
		limited, cancel := context.WithTimeout(ctx, costWithin)
		cost, err := s.Cost(limited)
		cancel()
		if err != nil {
			fmt.Fprintf(std.Err, "warning: what green's clients have written can't be told: %v\n", err)
		} else {
			writeCost(std.Err, cost)
		}
		if yes || !std.IsTerminal {
			return s, nil
		}
		if !wanted(ctx, std) {
			s.Close()
			return nil, &notWantedError{}
		}
		return s, nil
	}
}

// wanted asks whether to go back.
func wanted(ctx context.Context, std *IO) bool {
	fmt.Fprint(std.Err, "Go back to blue? [y/N] ")
	said := make(chan string, 1)
	go func() {
		answer, _ := bufio.NewReader(std.In).ReadString('\n') // what can't be read is no yes
		said <- strings.ToLower(strings.TrimSpace(answer))
	}()
	select {
	case answer := <-said:
		return answer == "y" || answer == "yes"
	case <-ctx.Done():
		return false
	}
}

// writeCost says what going back costs.
func writeCost(w io.Writer, c steps.Cost) {
	if len(c.Sessions) > 0 {
		fmt.Fprintf(w, "%d sessions are known to green alone, and end with the way back\n", len(c.Sessions))
	}
	if len(c.Lost) == 0 {
		fmt.Fprintln(w, "no other row of green's clients would be missing on blue")
		return
	}
	fmt.Fprintln(w, "written on green since the switch, and not on blue after the way back:")
	for _, l := range c.Lost {
		fmt.Fprintf(w, "  %s\n", l)
	}
}

// notWantedError says that a person has not agreed.
type notWantedError struct{}

func (*notWantedError) Error() string { return "nothing was done: green serves on" }

// Hint says what else there is.
func (*notWantedError) Hint() string {
	return "the profile's carry_back names tables whose rows go back to blue; --yes goes back without asking"
}
