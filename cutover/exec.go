package cutover

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tideover/tideover/internal/child"
	"github.com/tideover/tideover/plan"
)

// execParticipant runs programs: exit status 0 is a yes, and status prints blue or green. They get TIDEOVER_ACTION,
// TIDEOVER_RUN, TIDEOVER_TERM, TIDEOVER_CALL and TIDEOVER_KEY in the environment, and what the runbook names of ours. A program that takes too long is killed with
// everything that it has started.
type execParticipant struct {
	base
	spec *plan.ExecSpec
}

func newExec(b base, spec *plan.ExecSpec) (Participant, error) {
	return &execParticipant{base: b, spec: spec}, nil
}

// Prepare runs the prepare program; without one it looks whether the commit program can be found.
func (p *execParticipant) Prepare(ctx context.Context, t Ticket) error {
	if len(p.spec.Prepare) > 0 {
		_, err := p.run(ctx, t, "prepare", p.spec.Prepare)
		return err
	}
	for _, argv := range [][]string{p.spec.Commit, p.spec.Abort, p.spec.Status} {
		if _, err := exec.LookPath(argv[0]); err != nil {
			return err
		}
	}
	return nil
}

func (p *execParticipant) Commit(ctx context.Context, t Ticket) error {
	_, err := p.run(ctx, t, "commit", p.spec.Commit)
	return err
}

func (p *execParticipant) Abort(ctx context.Context, t Ticket) error {
	_, err := p.run(ctx, t, "abort", p.spec.Abort)
	return err
}

func (p *execParticipant) Side(ctx context.Context, t Ticket) (plan.Side, error) {
	out, err := p.run(ctx, t, "status", p.spec.Status)
	return known(plan.Side(strings.TrimSpace(out))), err
}

// spoken is how much of a program's output is kept.
const spoken = 4 << 10

func (p *execParticipant) run(ctx context.Context, t Ticket, action string, argv []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(child.Environment(p.spec.Env...), "TIDEOVER_ACTION="+action, "TIDEOVER_RUN="+t.Run,
		"TIDEOVER_TERM="+strconv.FormatInt(t.Term, 10), "TIDEOVER_CALL="+strconv.FormatInt(t.Call, 10), "TIDEOVER_KEY="+t.Key)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // a grandchild that left the group may still hold the output open
	out, errs := &head{}, &head{}
	cmd.Stdout, cmd.Stderr = out, errs
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s: %s: killed after %s: %w", action, argv[0], p.timeout, ctx.Err())
	case errors.Is(err, exec.ErrWaitDelay): // it said yes, and left something running
		return out.String(), nil
	case err != nil:
		return "", fmt.Errorf("%s: %s: %w: %.200q", action, argv[0], err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// head keeps the beginning of what is written to it.
type head struct{ bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	h.Buffer.Write(p[:min(len(p), max(0, spoken-h.Len()))])
	return len(p), nil
}
