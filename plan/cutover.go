package plan

import "time"

// Cutover is the switch.
const Cutover StepKind = "cutover"

// CutoverSpec are the fields of a cutover.
type CutoverSpec struct {
	Deadline    time.Duration `yaml:"deadline"`     // from the first hold to the release
	DrainLogins time.Duration `yaml:"drain_logins"` // how long logins under way may finish
	Tries       int           `yaml:"tries"`        // switches begun in all when the deadline calls one off
	MaxLag      int           `yaml:"max_lag"`      // changes; the hold waits for the backlog to come down to it

	MaxTransaction time.Duration `yaml:"max_transaction"` // one older than this on blue keeps the hold from beginning
	MinDisk        int           `yaml:"min_disk"`        // MiB that must be free for each database
	Window         string        `yaml:"window"`          // when the hold may begin (ParseWindow); empty: at any time
	Canary         time.Duration `yaml:"canary"`          // how long introspections are also asked of green before the hold; 0: not at all
	CanaryShare    float64       `yaml:"canary_share"`    // which share of them

	Participants []ParticipantSpec `yaml:"participants"` // besides the router, committed in this order before it
}

var cutover = kind{
	name: Cutover,
	standard: CutoverSpec{
		Deadline: 10 * time.Second, DrainLogins: 5 * time.Second, Tries: 3, MaxLag: 1000,
		MaxTransaction: 30 * time.Second, MinDisk: 1024, CanaryShare: 0.1,
	},
	fields: fields{
		"deadline":        {Doc: "From the first hold to the release. Past it the cutover is aborted and blue goes on.", Min: int64(100 * time.Millisecond)},
		"drain_logins":    {Doc: "How long logins under way may finish before the hold. 0s: not at all."},
		"tries":           {Doc: "How often the switch is tried when its deadline calls it off or a long write is in its way. Replay catches up in between.", Min: 1, Max: 100},
		"max_lag":         {Doc: "The hold waits until no more changes than this are left to replay; after a minute the run stops."},
		"max_transaction": {Doc: "A transaction older than this on blue keeps the hold from beginning: the fence would have to wait for it.", Min: 1},
		"min_disk":        {Doc: "MiB that must be free where each database has its files. It is looked at where our role may, and else said that it was not."},
		"window":          {Doc: "When the hold may begin, such as `Sat,Sun 01:00-05:00 Europe/Berlin`; days and zone (default UTC) may be left out. Default: at any time."},
		"canary":          {Doc: "How long a share of the introspections is also asked of green before the hold, and the answers compared. Green's are never served. Default: not at all."},
		"canary_share":    {Doc: "Which share of them, from 0 to 1.", Max: 1},
		"participants":    {Doc: "What must switch together with the router, committed in this order before it."},
	},
	check:    checked(checkCutover),
	hazards:  cutoverHazards,
	commands: func(config any) []command { return commandsOf("participant ", config.(*CutoverSpec).Participants) },
	order: order{
		after: []precedence{
			{offline, "cutover", "green's server meets the old schema"},
			{"replay", "cutover", "all changes are carried over while requests wait"},
			{"token-lifetimes", "cutover", "it comes when blue writes no tokens any more"},
		},
		onGreen: []moment{"cutover"},
		needs:   []need{{"cutover", []moment{offline}, "green has nothing to serve"}},
	},
}

func checkCutover(d *decoder, rb *Runbook, path string, c *CutoverSpec) {
	d.checkParticipants(join(path, "participants"), c.Participants, participantNames())
	if c.Window != "" {
		if _, err := ParseWindow(c.Window); err != nil {
			d.add(join(path, "window"), "such as Sat,Sun 01:00-05:00 Europe/Berlin", "%v", err)
		}
	}
	if c.Canary > 0 && rb.Router == nil {
		d.add(join(path, "canary"), "name the `router:` at the top", "there is no router that could ask green")
	}
	if rb.Router == nil && len(c.Participants) == 0 {
		d.add(path, "name the `router:` at the top, or `participants:` here", "nothing would switch: there is neither a router nor a participant")
	}
}

// longHold is where OAuth clients and load balancers with common settings begin to give up.
const longHold = 30 * time.Second

func cutoverHazards(h *hazards) {
	s := h.rb.Step(Cutover)
	if s == nil {
		return
	}
	c, ok := s.Config.(*CutoverSpec)
	if !ok {
		return
	}
	switch {
	case h.rb.Router == nil && len(c.Participants) == 0:
		h.add(NoFailedRequest, s, "name the router at the top of the runbook, or participants in the cutover",
			"nothing switches traffic: blue refuses writes and nobody is sent to green")
	case h.rb.Router == nil:
		h.add(NoFailedRequest, s, "put `tideover router` in front of both servers and name it at the top of the runbook",
			"no router holds requests: writes between the fence and the switch are refused with 503")
	}
	if c.Deadline > longHold {
		h.add(NoFailedRequest, s, "set the deadline to 30s or less",
			"requests may wait for %s: clients and load balancers give up earlier", c.Deadline)
	}
}
