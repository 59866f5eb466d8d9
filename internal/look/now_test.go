package look

import (
	"strings"
	"testing"
	"time"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/plan"
)

var at = time.Date(2026, 3, 8, 4, 0, 0, 0, time.UTC)

func TestNow(t *testing.T) {
	t.Parallel()
	blue, green := Router{Name: "a", Side: plan.Blue, Phase: router.Open}, Router{Name: "b", Side: plan.Green, Phase: router.Open}
	gone := Router{Name: "c", Unknown: "connection refused"}
	held := Router{Name: "a", Side: plan.Blue, Phase: router.Holding, Waiting: 1200, Until: at.Add(7 * time.Second)}
	down := []Fence{{Side: plan.Blue}, {Side: plan.Green}}
	up := []Fence{{Side: plan.Blue, Raised: true, Stays: true}, {Side: plan.Green}}
	unseen := []Fence{{Side: plan.Blue, Unknown: "no answer in time"}, {Side: plan.Green}}
	for _, tt := range []struct {
		name    string
		facts   Facts
		serves  plan.Side
		clients string
		ends    bool
		says    string
	}{
		{"blue", Facts{Routers: []Router{blue}, Fences: down}, plan.Blue, Served, false, "blue serves; nobody waits, nobody is refused"},
		{"green, blue fenced", Facts{Routers: []Router{green}, Fences: up}, plan.Green, Served, false, "green serves; nobody waits"},
		{"disagree", Facts{Routers: []Router{blue, green}, Fences: down}, "", Unknown, false, "DISAGREE: 1 on blue, 1 on green"},
		{"disagree in a hold", Facts{Routers: []Router{held, green}, Fences: down}, "", Wait, true, "until 04:00:07 UTC (in 7s)"},
		{"one is gone", Facts{Routers: []Router{blue, gone}, Fences: down}, plan.Blue, Unknown, false, "as far as can be seen (c: connection refused)"},
		{"all are gone", Facts{Routers: []Router{gone}, Fences: down}, "", Unknown, false, "who serves is unknown: c: connection refused"},
		{"no router", Facts{Fences: down}, "", Unknown, false, "the runbook names no router"},
		{"in place", Facts{Fences: down[:1]}, plan.Blue, Served, false, "there is no other side"},
		{"hold", Facts{Routers: []Router{held}, Fences: down}, plan.Blue, Wait, true, "(1,200 now), until 04:00:07 UTC (in 7s): then they go to blue by themselves"},
		{"hold, and the fence stays", Facts{Routers: []Router{held}, Fences: up}, plan.Blue, Wait, true, "refuses them (503) until resume or rollback"},
		{"hold, and the fence is not seen", Facts{Routers: []Router{held}, Fences: unseen}, plan.Blue, Wait, true, "whether its database takes them then is unknown"},
		{"fence", Facts{Routers: []Router{blue}, Fences: up}, plan.Blue, Refused, false, "does NOT end by itself"},
		{"the fence is not seen", Facts{Routers: []Router{blue}, Fences: unseen}, plan.Blue, Unknown, false, "takes writes is unknown: no answer in time"},
		{"the server is not ready", Facts{Routers: []Router{blue}, Fences: down, Servers: []Server{{Side: plan.Blue, Listener: "admin", Says: "503 Service Unavailable"}}},
			plan.Blue, Failing, false, "its admin listener says 503"},
		{"the server is not seen", Facts{Routers: []Router{blue}, Fences: down, Servers: []Server{{Side: plan.Blue, Listener: "public", Unknown: "connection refused"}}},
			plan.Blue, Unknown, false, "blue's server (public): connection refused"},
		{"the other server is not ready", Facts{Routers: []Router{blue}, Fences: down, Servers: []Server{{Side: plan.Green, Listener: "admin", Says: "503"}}}, plan.Blue, Served, false, "nobody waits"},
		{"logins", Facts{Routers: []Router{{Side: plan.Blue, Phase: router.Draining, Waiting: 3, Until: at.Add(time.Second)}}, Fences: down}, plan.Blue, Wait, true, "new logins wait"},
	} {
		tt.facts.At = at
		n := tt.facts.Now()
		if n.Serves != tt.serves || n.Clients != tt.clients || n.Until.IsZero() == tt.ends || !strings.Contains(n.Text, tt.says) {
			t.Errorf("%s: %+v", tt.name, n)
		}
	}
}

// There is a way on from every phase that has not ended, and each says what it does and costs.
func TestWays(t *testing.T) {
	t.Parallel()
	for _, phase := range journal.Phases() {
		for _, held := range []bool{true, false} {
			s := journal.State{Seq: 3, Phase: phase, PastPointOfNoReturn: phase.PastPointOfNoReturn()}
			if phase.IsWaiting() {
				s.Gate = &journal.Gate{Step: "cutover"}
			}
			ways := Ways(&s, held, "n.yaml", time.Second)
			if (len(ways) == 0) != phase.Ended() {
				t.Errorf("%s, held %t: %d ways", phase, held, len(ways))
			}
			if held && phase.IsWaiting() && !strings.HasPrefix(ways[0].Command, "tideover approve ") {
				t.Errorf("%s: the gate is not named first: %v", phase, ways)
			}
			for _, w := range ways {
				if w.Does == "" || w.Costs == "" || !strings.HasPrefix(w.Command, "tideover ") || !strings.Contains(w.Command, " n.yaml") {
					t.Errorf("%s, held %t: %+v", phase, held, w)
				}
				if strings.HasPrefix(w.Command, "tideover abort") && s.PastPointOfNoReturn || phase.GoesBack() && strings.HasPrefix(w.Command, "tideover resume") {
					t.Errorf("%s, held %t: %s", phase, held, w.Command)
				}
			}
		}
	}
}
