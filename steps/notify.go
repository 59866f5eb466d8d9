package steps

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tideover/tideover/cutover"
	"github.com/tideover/tideover/internal/child"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/plan"
)

const (
	notices    = 100              // that wait for one who is told, at most
	notifyLast = 30 * time.Second // for what is still to be told when the process ends
)

// Told is what somebody is told: the word of plan.Notify, and the event. Its fields are a contract (docs/runbook.md).
type Told struct {
	Notify  string        `json:"notify"` // "gate", "failure", "guardrail", "finished" or "rollback"
	Run     string        `json:"run"`
	Name    string        `json:"name"` // of the runbook
	Step    string        `json:"step,omitempty"`
	Outcome string        `json:"outcome,omitempty"` // of "finished": "completed", "aborted" or "rolled_back"
	Text    string        `json:"text"`
	Event   journal.Event `json:"event"`
}

// notifier tells everybody whom the runbook names, each from an inbox of their own: nobody waits for them.
type notifier struct {
	name  string
	boxes []chan Told
	specs []plan.Notify
	tell  sync.WaitGroup

	mu     sync.Mutex
	closed bool

	warn  func(text string) // of one that could not be told
	pause time.Duration     // before the second try
}

// newNotifier begins to tell. It ends with close.
func newNotifier(name string, specs []plan.Notify, warn func(text string)) *notifier {
	n := &notifier{name: name, specs: specs, warn: warn, pause: time.Second}
	for range specs {
		n.boxes = append(n.boxes, make(chan Told, notices))
	}
	return n
}

// begin starts the work. ctx ends tries.
func (n *notifier) begin(ctx context.Context) {
	for i := range n.specs {
		n.tell.Go(func() {
			for t := range n.boxes[i] {
				if err := n.try(ctx, &n.specs[i], t); err != nil {
					n.warn(fmt.Sprintf("%s could not be told of %s: %v", whoIsTold(&n.specs[i]), t.Notify, err))
				}
			}
		})
	}
}

// sink takes the run's events.
func (n *notifier) sink(e journal.Event) {
	t, ok := toldOf(e)
	if !ok {
		return
	}
	t.Name = n.name
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	for i := range n.specs {
		if !n.specs[i].Wants(t.Notify) {
			continue
		}
		select {
		case n.boxes[i] <- t:
		default: // one who does not answer misses it
		}
	}
}

// close waits for what is still to be told.
func (n *notifier) close() {
	n.mu.Lock()
	n.closed = true
	for _, box := range n.boxes {
		close(box)
	}
	n.mu.Unlock()
	n.tell.Wait()
}

func toldOf(e journal.Event) (t Told, ok bool) {
	t = Told{Run: e.Run, Step: e.Step, Event: e}
	switch e.Kind {
	case journal.GateWaiting:
		t.Notify, t.Text = plan.NotifyGate, said[journal.ReasonData](e).Reason
	case journal.StepFailed:
		t.Notify, t.Text = plan.NotifyFailure, said[journal.FailedData](e).Error
		if strings.HasPrefix(t.Text, "guardrail ") {
			t.Notify = plan.NotifyGuardrail
		}
	case journal.RunUndoing:
		t.Notify, t.Text = plan.NotifyRollback, said[journal.ReasonData](e).Reason
	case journal.RunCompleted, journal.RunAborted, journal.RunRolledBack:
		t.Notify, t.Outcome = plan.NotifyFinished, strings.TrimPrefix(string(e.Kind), "run.")
		t.Text = "the run is " + strings.ReplaceAll(t.Outcome, "_", " ")
	default:
		return t, false
	}
	return t, true
}

func said[T any](e journal.Event) (v T) {
	_ = json.Unmarshal(e.Data, &v) // our own
	return v
}

// whoIsTold never has an address whole: it may be a secret.
func whoIsTold(spec *plan.Notify) string {
	if u, err := url.Parse(spec.URL); err == nil && spec.URL != "" {
		return "the hook at " + u.Host
	}
	if len(spec.Command) > 0 {
		return "the command " + spec.Command[0]
	}
	return "a hook"
}

// try tells, and tries again.
func (n *notifier) try(ctx context.Context, spec *plan.Notify, t Told) (err error) {
	body, err := json.Marshal(t)
	if err != nil {
		return err
	}
	pause := n.pause
	for i := 0; ; i++ {
		once, cancel := context.WithTimeout(ctx, spec.Timeout)
		if spec.URL != "" {
			err = post(once, spec, t, body)
		} else {
			err = tellCommand(once, spec, t, body)
		}
		cancel()
		if err == nil || i >= spec.Retries || ctx.Err() != nil {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
		pause *= 2
	}
}

func post(ctx context.Context, spec *plan.Notify, t Told, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, spec.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("its address can't be called")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Tideover-Run", t.Run)
	req.Header.Set("Idempotency-Key", fmt.Sprintf("%s/%d", t.Run, t.Event.Seq))
	if spec.Secret != "" {
		cutover.Sign(req, spec.Secret, body, time.Now())
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		var quoting *url.Error // its text has the address
		if errors.As(err, &quoting) {
			err = quoting.Err
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16)) // what it says is nobody's question
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return nil
}

func tellCommand(ctx context.Context, spec *plan.Notify, t Told, body []byte) error {
	cmd := exec.CommandContext(ctx, spec.Command[0], spec.Command[1:]...)
	cmd.Env = append(child.Environment(spec.Env...), "TIDEOVER_NOTIFY="+t.Notify, "TIDEOVER_RUN="+t.Run)
	cmd.Stdin = bytes.NewReader(body)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // a grandchild that left the group may still hold the input open
	return cmd.Run()
}
