package world

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
)

// run is the program at work on a world.
type run struct {
	*scene
	writers writers
	started bool   // the journal has the run
	copied  bool   // the copy began
	held    bool   // the hold began
	failure string // the last error with its hint
	until   string // a gate before which the process is killed; empty: none
	said    bytes.Buffer
}

func newRun(s *scene) *run {
	return &run{scene: s, writers: writers{begun: map[Moment]bool{}}}
}

// event is a line of --json, as far as we look at it.
type event struct {
	Seq  int64
	Step string
	Kind string
	Data struct{ Error, Hint, Note, Text string }
}

// upgrade runs the program to its end, killed and resumed as the world wants, and returns its exit status.
func (r *run) upgrade(ctx context.Context) (int, error) {
	defer r.writers.wait()
	args := []string{"run", "--json", "upgrade.yaml"}
	for n := 0; ; n++ {
		after := 0
		if n < len(r.world.Kills) {
			after = r.world.Kills[n]
		}
		code, err := r.process(ctx, after, args...)
		if err != nil || code >= 0 {
			return code, err
		}
		if r.started {
			args = []string{"resume", "--json", "upgrade.yaml"}
		}
	}
}

// process runs the program once. It is killed when it has stored so many events (0: never): then the status is -1.
func (r *run) process(ctx context.Context, kill int, args ...string) (int, error) {
	fmt.Fprintf(&r.said, "$ tideover %s\n", strings.Join(args, " "))
	cmd := r.command(ctx, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	r.failure = ""
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 16<<20)
	stored := 0
	var failed error
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			failed = errors.Join(failed, fmt.Errorf("no event: %s", lines.Bytes()))
			continue
		}
		if e.Seq > 0 {
			r.started = true
			stored++
			fmt.Fprintf(&r.said, "%d %s %s %s%s\n", e.Seq, e.Kind, e.Step, e.Data.Error, e.Data.Text)
		}
		if kill > 0 && stored == kill || r.until != "" && e.Kind == "gate.waiting" && e.Step == r.until {
			_ = cmd.Process.Kill()
			continue
		}
		failed = errors.Join(failed, r.hear(ctx, e))
	}
	failed = errors.Join(failed, lines.Err())
	err = cmd.Wait()
	r.said.Write(stderr.Bytes())
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	if r.failure == "" {
		r.failure = strings.TrimSpace(stderr.String())
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return cmd.ProcessState.ExitCode(), failed
}

func (r *run) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, r.Binary, args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "TIDEOVER_BLUE_DSN="+r.blueAs, "TIDEOVER_GREEN_DSN="+r.greenAs, "PATH="+r.Blue.BinDir()+":"+os.Getenv("PATH"))
	return cmd
}

// hear lets clients write at their moments, and opens gates when they have.
func (r *run) hear(ctx context.Context, e event) error {
	switch {
	case e.Kind == "step.failed":
		r.failure = strings.TrimSpace(e.Data.Error + "\n" + e.Data.Hint)
	case e.Kind == "step.finished" && e.Step == "preflight":
		r.write(ctx, BeforeCapture)
	case e.Kind == "step.started" && e.Step == "snapshot":
		r.copied = true
		r.write(ctx, DuringCopy)
	case e.Kind == "gate.waiting" && e.Step == "replay":
		r.write(ctx, Between)
		r.writers.wait()
		return r.approve(ctx, "replay")
	case e.Kind == "step.started" && e.Step == "replay":
		r.write(ctx, DuringReplay)
	case e.Kind == "gate.waiting" && e.Step == "cutover":
		r.writers.wait()
		return r.approve(ctx, "cutover")
	case e.Kind == "gate.waiting" && e.Step == "retire":
		return r.approve(ctx, "retire")
	case e.Kind == "cutover.holding":
		r.held = true
		r.write(ctx, InHold)
	}
	return nil
}

func (r *run) approve(ctx context.Context, step string) error {
	out, err := r.command(ctx, "approve", "upgrade.yaml", step).CombinedOutput()
	if err != nil {
		return fmt.Errorf("approve %s: %w: %s", step, err, out)
	}
	return nil
}

func (r *run) reason() string { return r.failure }
func (r *run) log() string    { return r.said.String() }

// writers are the clients of blue.
type writers struct {
	group  sync.WaitGroup
	begun  map[Moment]bool
	mu     sync.Mutex
	errors []string
}

func (w *writers) wait() { w.group.Wait() }

var (
	failedWrite = regexp.MustCompile(`(?m)(?:ERROR|FATAL):  ([0-9A-Z]{5}): .*`) // as psql shows it
	// What the world's own constraints refuse (class 23) is no finding, neither is what the fence refuses (TD001), what
	// follows in the same transaction (25P02, 3B001), and what another client was faster with (40001).
	meantToFail = regexp.MustCompile(`^(TD001|23...|25P02|3B001|40001)$`)
)

// write lets a moment's clients begin, once.
func (r *run) write(ctx context.Context, m Moment) {
	script := r.world.named(r.world.script(m))
	if r.writers.begun[m] || script == "" {
		return
	}
	r.writers.begun[m] = true
	r.writers.group.Go(func() {
		_, stderr, err := r.client(ctx, "psql", r.blue, script, "--no-psqlrc", "--quiet", "--output=/dev/null", "--set=VERBOSITY=verbose")
		r.writers.mu.Lock()
		defer r.writers.mu.Unlock()
		if err != nil {
			r.writers.errors = append(r.writers.errors, fmt.Sprintf("%s: %v", m, err))
		}
		for _, f := range failedWrite.FindAllStringSubmatch(stderr, -1) {
			if !meantToFail.MatchString(f[1]) {
				r.writers.errors = append(r.writers.errors, fmt.Sprintf("%s: %s", m, f[0]))
			}
		}
	})
}
