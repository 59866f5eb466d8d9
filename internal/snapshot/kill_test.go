package snapshot_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/authserver/schema"
	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/oracle"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/snapshot"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/replay"
)

// childCopy is a copy that a process of its own makes, to be killed or to have its memory measured. It prints a line for
// all that it does.
type childCopy struct {
	Blue, Green, BinDir, Profile string
	Jobs                         int
	Chunk                        int64
}

const childVariable = "TIDEOVER_TEST_COPY"

func (o childCopy) command(ctx context.Context) *exec.Cmd {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err) // plain fields always encode
	}
	c := exec.CommandContext(ctx, os.Args[0])
	c.Env = append(os.Environ(), childVariable+"="+string(text))
	return c
}

// peak reads off a child's output how much memory it had at most, in bytes.
func peak(t testing.TB, out []byte) int64 {
	t.Helper()
	_, after, ok := bytes.Cut(out, []byte("VmHWM:"))
	var kilobytes int64
	if _, err := fmt.Sscan(string(after), &kilobytes); !ok || err != nil {
		t.Fatalf("no peak of memory in %q", out)
	}
	return kilobytes << 10
}

// child is what the child process does.
func child(ctx context.Context, text string) error {
	var o childCopy
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	var profile *plan.Profile
	var err error
	if o.Profile != "" {
		if profile, err = plan.LoadProfile(o.Profile, ""); err != nil {
			return err
		}
	}
	blue, err := postgres.Open(ctx, "blue", o.Blue)
	if err != nil {
		return err
	}
	defer blue.Close()
	green, err := postgres.Open(ctx, "green", o.Green)
	if err != nil {
		return err
	}
	defer green.Close()
	_, err = snapshot.Copy(ctx, snapshot.Options{Blue: blue, Green: green, Profile: profile, Triggers: profile != nil, Jobs: o.Jobs, Chunk: o.Chunk, BinDir: o.BinDir,
		Progress: func(p snapshot.Progress) { fmt.Println(p.Done, p.Note) },
		PartDone: func(_ context.Context, part string, _ int64) error { _, err := fmt.Println(part); return err }})
	if err != nil {
		return err
	}
	// What wait4 says of a child begins with its parent's memory.
	status, err := os.ReadFile("/proc/self/status")
	fmt.Println(string(status))
	return err
}

// users who logged in, consented and have tokens; the sessions make the token tables big enough for many pieces.
const users = `
INSERT INTO oauth_client (id, owner) SELECT 'app' || i, 'o' FROM generate_series(0, 20) i;
INSERT INTO oauth_session (id, subject) SELECT 's' || i, 'u' || i FROM generate_series(1, 1500) i;
INSERT INTO oauth_login_request (challenge, verifier, client_id, session_id, request_url) SELECT 'l' || i, 'lv' || i, 'app' || i % 20, 's' || i, 'https://x/auth' FROM generate_series(1, 1500) i;
INSERT INTO oauth_login_handled (challenge, subject, was_used) SELECT 'l' || i, 'u' || i, true FROM generate_series(1, 1500) i;
INSERT INTO oauth_consent_request (challenge, verifier, login_challenge, client_id, subject) SELECT 'k' || i, 'kv' || i, 'l' || i, 'app' || i % 20, 'u' || i FROM generate_series(1, 1500) i;
INSERT INTO oauth_consent_handled (challenge, granted_scope, was_used) SELECT 'k' || i, 'openid', true FROM generate_series(1, 1500) i;
INSERT INTO oauth_access (signature, request_id, client_id, subject, consent_challenge, session_data, expires_at)
	SELECT 'a' || i, 'k' || i, 'app' || i % 20, 'u' || i, 'k' || i, repeat('x', 1200), now() + '1 day' FROM generate_series(1, 1500) i;
INSERT INTO oauth_refresh (signature, request_id, client_id, subject, consent_challenge, session_data, expires_at)
	SELECT 'r' || i, 'k' || i, 'app' || i % 20, 'u' || i, 'k' || i, repeat('x', 1200), now() + '1 day' FROM generate_series(1, 1500) i;`

// serverWork is what a server does to blue, %[1]d a number that never comes twice, %[2]d a user. Statements that change nothing are
// among it: they move a row to another page, unseen by capture.
var serverWork = []string{
	`UPDATE oauth_refresh SET session_data = session_data WHERE request_id = 'k%[2]d'`,
	`UPDATE oauth_access SET session_data = session_data WHERE request_id = 'k%[2]d'`,
	`UPDATE oauth_refresh SET active = false WHERE request_id = 'k%[2]d'; DELETE FROM oauth_access WHERE request_id = 'k%[2]d';
	 INSERT INTO oauth_refresh (signature, request_id, client_id, subject, consent_challenge, session_data, expires_at)
	 SELECT 'n%[1]d', 'k%[2]d', client_id, subject, challenge, repeat('y', 900), now() + '1 day' FROM oauth_consent_request WHERE challenge = 'k%[2]d';
	 INSERT INTO oauth_access (signature, request_id, client_id, subject, consent_challenge, session_data, expires_at)
	 SELECT 'n%[1]d', 'k%[2]d', client_id, subject, challenge, repeat('y', 900), now() + '1 day' FROM oauth_consent_request WHERE challenge = 'k%[2]d'`,
	`UPDATE oauth_access SET signature = 'moved-%[1]d' WHERE request_id = 'k%[2]d'`,
	`DELETE FROM oauth_consent_request WHERE challenge = 'k%[2]d'`,
	`INSERT INTO oauth_session (id, subject) VALUES ('new%[1]d', 'u');
	 INSERT INTO oauth_login_request (challenge, verifier, client_id, session_id, request_url) VALUES ('new%[1]d', 'new%[1]d', 'app1', 'new%[1]d', 'https://x/auth');
	 INSERT INTO oauth_login_handled (challenge, subject, was_used) VALUES ('new%[1]d', 'u', true);
	 INSERT INTO oauth_consent_request (challenge, verifier, login_challenge, client_id, subject) VALUES ('new%[1]d', 'new%[1]d', 'new%[1]d', 'app1', 'u');
	 INSERT INTO oauth_consent_handled (challenge, granted_scope, was_used) VALUES ('new%[1]d', 'openid', true)`,
}

// work writes to blue as a server does until stop is closed.
func work(ctx context.Context, dsn string, number int, stop <-chan struct{}) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	rng := rand.New(rand.NewPCG(uint64(number), 6))
	ticker := time.NewTicker(4 * time.Millisecond) // a load that replay can bring over in a test's time
	defer ticker.Stop()
	for n := number * 1_000_000; ; n++ {
		select {
		case <-stop:
			return nil
		case <-ticker.C:
		}
		statement := fmt.Sprintf(serverWork[rng.IntN(len(serverWork))], n, rng.IntN(1500)+1)
		if _, err := conn.PgConn().Exec(ctx, "BEGIN;"+statement+";COMMIT").ReadAll(); err != nil {
			if postgres.Code(err) != "40P01" {
				return fmt.Errorf("%s: %w", statement, err)
			}
			if _, err := conn.Exec(ctx, "ROLLBACK"); err != nil {
				return err
			}
		}
	}
}

// TestCopySurvivesKills kills the process of a copy at moments drawn by chance, with the tables in many pieces and blue
// being written all the time, and lets it go on each time. Each copy that gets to its end is migrated, and green is held
// against blue migrated offline.
func TestCopySurvivesKills(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	kills := len(slice.Of(t, 4, 20))
	rng := slice.Chance(t)
	for killed, round := 0, 1; killed < kills; round++ {
		n := killUntilDone(t, rng, kills-killed)
		killed += n
		t.Logf("copy %d: killed %d times", round, n)
	}
}

// killUntilDone makes one copy, killed up to so many times on the way, and judges green. It returns how often it was.
func killUntilDone(t *testing.T, rng *rand.Rand, most int) (killed int) {
	profile, err := plan.LoadProfile("bundled", "")
	if err != nil {
		t.Fatal(err)
	}
	blueDSN, greenDSN := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	o := snapshot.Options{Blue: open(t, "blue", blueDSN), Green: open(t, "green", greenDSN), Profile: profile}
	if err := migrate.NewGoose(schema.Files(), 11004).Migrate(t.Context(), blueDSN); err != nil {
		t.Fatal(err)
	}
	run(t, blueDSN, users)
	capture(t, o)
	stop, failed := make(chan struct{}), make(chan error, 2)
	for i := range 2 {
		go func() { failed <- work(t.Context(), blueDSN, i+1, stop) }()
	}
	var once sync.Once
	end := func() {
		once.Do(func() {
			close(stop)
			for range 2 {
				if err := <-failed; err != nil {
					t.Errorf("the server: %v", err)
				}
			}
		})
	}
	defer end()
	copier := childCopy{Blue: blueDSN, Green: greenDSN, BinDir: pgtest.Shared(t).BinDir(), Profile: "bundled", Jobs: 2, Chunk: 100 << 10}
	for {
		died, err := killed1(copier.command(t.Context()), killed < most, rng)
		if err != nil {
			t.Fatal(err)
		}
		if !died {
			break
		}
		killed++
	}
	end()
	judge(t, o)
	return killed
}

// killed1 runs a copy and, if asked, kills it after some of its lines and a moment more. It says whether it was killed.
func killed1(c *exec.Cmd, kill bool, rng *rand.Rand) (died bool, err error) {
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := c.Start(); err != nil {
		return false, err
	}
	lines := bufio.NewScanner(out)
	for left := rng.IntN(40); lines.Scan(); left-- {
		if kill && left <= 0 {
			time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond) // the moment of the kill is what is varied
			if err := c.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return false, err
			}
			kill, died = false, true
		}
	}
	if err := lines.Err(); err != nil {
		return false, err
	}
	err = c.Wait()
	if died && err != nil && c.ProcessState.ExitCode() == -1 {
		return true, nil
	}
	if err != nil {
		err = fmt.Errorf("the copy: %w: %s", err, stderr.String())
	}
	return false, err // it may have been over before it was killed
}

// judge migrates green, brings blue's changes over, and asks the oracle.
func judge(t *testing.T, o snapshot.Options) {
	t.Helper()
	m, rules := migrate.NewGoose(schema.Files(), 20006), cleanup.New(o.Profile.Rules, cleanup.Options{})
	conn := connect(t, o.Green.DSN())
	for _, do := range []func() error{
		func() error { _, err := rules.Apply(t.Context(), conn, "before"); return err },
		func() error { return m.Migrate(t.Context(), o.Green.DSN()) },
		func() error { _, err := rules.Apply(t.Context(), conn, "after"); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	replayer, err := replay.NewReplayer(replay.Config{Blue: o.Blue, Green: o.Green, Profile: o.Profile, Migrator: m, Rules: cleanup.New(o.Profile.Rules, cleanup.Options{Collect: true})})
	if err != nil {
		t.Fatal(err)
	}
	applied, err := replayer.Drain(t.Context())
	if err != nil || len(applied.Parked) > 0 {
		t.Fatalf("replay: %v, parked %v", err, applied.Parked)
	}
	if err := replayer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	reference, err := oracle.Expected(t.Context(), o.Blue, o.Green, o.Profile, m, rules, "")
	if err != nil {
		t.Fatal(err)
	}
	defer reference.Drop()
	c, err := oracle.Compare(t.Context(), connect(t, reference.DSN), conn, o.Profile, oracle.Clock{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Count != 0 || c.Rows < 5000 {
		t.Errorf("the oracle finds %d differences in %d rows: %.2000v", c.Count, c.Rows, c.Differences)
	}
	t.Logf("the oracle: %d rows of %d tables, %d differences; %d changes were replayed", c.Rows, c.Tables, c.Count, applied.Changes)
}
