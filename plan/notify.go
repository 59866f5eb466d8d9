package plan

import (
	"net/url"
	"strings"
	"time"
)

// What somebody can be told of.
const (
	NotifyGate      = "gate"      // a gate waits for a person
	NotifyFailure   = "failure"   // a step has failed
	NotifyGuardrail = "guardrail" // a guardrail has stopped the cutover
	NotifyFinished  = "finished"  // completed, aborted or rolled back
	NotifyRollback  = "rollback"  // the way back has begun
)

var notifyWords = []string{NotifyGate, NotifyFailure, NotifyGuardrail, NotifyFinished, NotifyRollback}

// Notify is somebody who is told what becomes of a run: by a program, or at an address.
type Notify struct {
	On      []string      `yaml:"on"`
	URL     string        `yaml:"url"`
	Secret  string        `yaml:"secret"`
	Command []string      `yaml:"command"`
	Env     []string      `yaml:"env"`
	Timeout time.Duration `yaml:"timeout"` // one try
	Retries int           `yaml:"retries"` // tries after the first
}

var standardNotify = Notify{Timeout: 10 * time.Second, Retries: 3}

// Wants says whether somebody is to be told of it.
func (n *Notify) Wants(word string) bool {
	if len(n.On) == 0 {
		return true
	}
	for _, on := range n.On {
		if on == word {
			return true
		}
	}
	return false
}

func (d *decoder) checkNotify(rb *Runbook) {
	for i, n := range rb.Notify {
		at := item("notify", i)
		if (n.URL == "") == (len(n.Command) == 0) {
			d.add(at, "such as `url: https://…` or `command: [./tell.sh]`", "needs either url or command")
			continue
		}
		if n.URL != "" && !strings.Contains(n.URL, unresolved) {
			if u, err := url.Parse(n.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
				d.add(join(at, "url"), "such as https://alerts.example.org/tideover", "is not an address")
			}
		}
		if n.Secret != "" && n.URL == "" {
			d.add(join(at, "secret"), "a program is not called over the network", "does not count for a command")
		}
		if n.Secret != "" && len(n.Secret) < minSecret && !strings.Contains(n.Secret, unresolved) {
			d.add(join(at, "secret"), "", "has fewer than %d bytes", minSecret)
		}
	}
}
