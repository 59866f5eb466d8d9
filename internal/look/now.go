package look

import (
	"fmt"
	"strings"
	"time"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/internal/report"
	"github.com/tideover/tideover/plan"
)

// What clients meet now.
const (
	Served  = "served"  // everybody is
	Wait    = "wait"    // writes or logins wait at the router
	Refused = "refused" // writes get 503
	Failing = "failing" // the serving side does not answer
	Unknown = "unknown"
)

// Now is the answer to what somebody asks first: who serves, do clients wait or fail, and when does that end by itself.
type Now struct {
	Serves  plan.Side `json:"serves"`         // "blue", "green"; "": it can't be told, or routers disagree
	Clients string    `json:"clients"`        // Served, Wait, Refused, Failing or Unknown
	Until   time.Time `json:"until,omitzero"` // when that ends by itself; zero: it does not, or nobody knows
	Text    string    `json:"text"`
}

// Now puts the facts together. It goes by nothing else.
func (f *Facts) Now() Now {
	n := Now{Clients: Unknown}
	who := f.serving(&n)
	hold, drain, waiting := f.holding()
	fence := f.fenceOf(n.Serves)
	switch {
	case n.Serves == "" && !hold.IsZero():
		n.Clients, n.Until = Wait, hold
		n.Text = fmt.Sprintf("%s; writes and logins wait at a router (%s now), until %s", who, report.Thousands(waiting), f.in(hold))
	case n.Serves == "":
		n.Text = who
	case !hold.IsZero():
		n.Clients, n.Until = Wait, hold
		n.Text = fmt.Sprintf("%s serves reads; writes and logins wait at the router (%s now), until %s: then they go to %s by themselves",
			n.Serves, report.Thousands(waiting), f.in(hold), n.Serves)
		switch {
		case fence == nil || fence.Unknown != "":
			n.Text += "; whether its database takes them then is unknown"
		case fence.Stays:
			n.Text += ", whose database refuses them (503) until resume or rollback"
		case fence.Until.After(hold):
			n.Text += fmt.Sprintf(", whose database refuses them (503) until %s", f.in(fence.Until))
		}
	case fence != nil && fence.Raised:
		n.Clients, n.Until = Refused, fence.Until
		n.Text = fmt.Sprintf("%s serves reads; writes get 503, everybody's, after some seconds of trying: its database refuses them", n.Serves)
		if fence.Stays {
			n.Text += ", and that does NOT end by itself: resume or rollback ends it"
		} else {
			n.Text += fmt.Sprintf(" until %s, by itself", f.in(fence.Until))
		}
	case f.failing(n.Serves) != "":
		n.Clients = Failing
		n.Text = fmt.Sprintf("%s is to serve, and does not answer: %s", n.Serves, f.failing(n.Serves))
	case !drain.IsZero():
		n.Clients, n.Until = Wait, drain
		n.Text = fmt.Sprintf("%s; new logins wait at the router (%s now), until %s at most; everything else is served", who, report.Thousands(waiting), f.in(drain))
	case fence == nil || fence.Unknown != "":
		n.Text = who + "; nobody waits at the router"
		if fence != nil {
			n.Text += "; whether " + string(n.Serves) + "'s database takes writes is unknown: " + report.Plain(fence.Unknown)
		}
	default:
		n.Clients = Served
		n.Text = who + "; nobody waits, nobody is refused"
		if unasked := f.unasked(n.Serves); unasked != "" {
			n.Clients = Unknown
			n.Text = who + "; whether clients wait or fail is unknown: " + unasked
		}
	}
	return n
}

// serving finds the side that all routers point at, and says it.
func (f *Facts) serving(n *Now) string {
	if len(f.Routers) == 0 {
		if len(f.Fences) == 1 { // in place
			n.Serves = plan.Blue
			return "blue serves: there is no other side"
		}
		return "who serves is unknown: the runbook names no router"
	}
	at := map[plan.Side]int{}
	var unknown []string
	for _, r := range f.Routers {
		if r.Unknown != "" {
			unknown = append(unknown, fmt.Sprintf("%s: %s", report.Plain(r.Name), report.Plain(r.Unknown)))
			continue
		}
		at[r.Side]++
	}
	switch {
	case len(at) > 1:
		return fmt.Sprintf("the routers DISAGREE: %d on blue, %d on green; resume or rollback brings them to one side", at[plan.Blue], at[plan.Green])
	case len(at) == 0:
		return "who serves is unknown: " + strings.Join(unknown, "; ")
	}
	for n.Serves = range at {
	}
	text := fmt.Sprintf("%s serves", n.Serves)
	if len(unknown) > 0 {
		text += fmt.Sprintf(", as far as can be seen (%s)", strings.Join(unknown, "; "))
	}
	return text
}

// holding says until when routers hold, or let logins out, and how many wait there.
func (f *Facts) holding() (hold, drain time.Time, waiting int) {
	for _, r := range f.Routers {
		waiting += r.Waiting
		switch {
		case r.Unknown != "":
		case r.Phase == router.Holding && r.Until.After(hold):
			hold = r.Until
		case r.Phase == router.Draining && r.Until.After(drain):
			drain = r.Until
		}
	}
	return hold, drain, waiting
}

func (f *Facts) fenceOf(side plan.Side) *Fence {
	for i := range f.Fences {
		if f.Fences[i].Side == side {
			return &f.Fences[i]
		}
	}
	return nil
}

// failing says what is wrong with a side's server: by what the router in front of it finds, which is what clients meet, or by the
// server's own answer.
func (f *Facts) failing(side plan.Side) string {
	for _, r := range f.Routers {
		if r.Side == side && len(r.Silent) > 0 {
			return fmt.Sprintf("router %s finds it not ready (%s)", report.Plain(r.Name), strings.Join(r.Silent, " and "))
		}
	}
	for _, s := range f.Servers {
		if s.Side == side && !s.Ready && s.Says != "" {
			return fmt.Sprintf("its %s listener says %s", s.Listener, report.Plain(s.Says))
		}
	}
	return ""
}

// unasked says what was not to be seen of a side that seems to serve.
func (f *Facts) unasked(side plan.Side) string {
	for _, r := range f.Routers {
		if r.Unknown != "" {
			return fmt.Sprintf("router %s: %s", report.Plain(r.Name), report.Plain(r.Unknown))
		}
	}
	for _, s := range f.Servers {
		if s.Side == side && s.Unknown != "" {
			return fmt.Sprintf("%s's server (%s): %s", side, s.Listener, report.Plain(s.Unknown))
		}
	}
	return ""
}

// in is a moment as a clock and as a time from now.
func (f *Facts) in(t time.Time) string {
	return fmt.Sprintf("%s (in %s)", t.UTC().Format("15:04:05 UTC"), max(t.Sub(f.At), 0).Round(100*time.Millisecond))
}
