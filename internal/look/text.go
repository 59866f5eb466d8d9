package look

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/internal/report"
)

// Text writes the facts for people, one line each.
func (f *Facts) Text(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(what, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", report.Plain(what), report.Plain(fmt.Sprintf(format, args...)))
	}
	say := func(what, unknown, text string) {
		if unknown != "" {
			text = "unknown: " + unknown
		}
		line(what, "%s", text)
	}
	for _, r := range f.Routers {
		text := fmt.Sprintf("%s, %s", r.Side, r.Phase)
		if r.Phase != router.Open {
			text += fmt.Sprintf(", %s wait, until %s, by run %s", report.Thousands(r.Waiting), f.in(r.Until), r.Run)
		}
		say("router "+r.Name, r.Unknown, text)
	}
	for _, x := range f.Fences {
		text := "down: it takes writes"
		switch {
		case x.Stays:
			text = "raised: it refuses writes, without an end"
		case x.Raised:
			text = "raised: it refuses writes, until " + f.in(x.Until)
		}
		say(fmt.Sprintf("fence of %s", x.Side), x.Unknown, text)
	}
	for _, p := range f.Participants {
		say("participant "+p.Name, p.Unknown, string(p.Side))
	}
	for _, s := range f.Servers {
		text := "ready"
		if !s.Ready {
			text = "not ready: " + s.Says
		}
		say(fmt.Sprintf("%s's server, %s", s.Side, s.Listener), s.Unknown, text)
	}
	text := "free: no process is at work"
	if s := f.Lease.Session; s != nil {
		text = fmt.Sprintf("held by session %d (%s), role %s, from %s, since %s", s.PID, s.Application, s.Role, from(s.Client), s.Since.UTC().Format(time.DateTime+" UTC"))
	}
	say("lease", f.Lease.Unknown, text)
	for _, x := range f.Waits {
		if x.Unknown != "" && x.Database == "control" {
			say("locks on control", x.Unknown, "")
		}
		for _, wait := range x.Waits {
			line("lock on "+x.Database, "%s (pid %d) has waited since %s for %s", wait.Application, wait.PID, wait.Since.UTC().Format("15:04:05 UTC"), wait.For)
		}
	}
	t.Flush()
}

func from(client string) string {
	if client == "" {
		return "the server's own machine"
	}
	return client
}
