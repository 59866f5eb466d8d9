package snapshot_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/authserver/schema"
	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/migrate"
)

// The bench copies the same database with our copy and with the tools that people would use instead, in turn, with the
// same number of jobs, between two servers that keep what they are given (fsync on). What counts are the ratios of the
// medians. TIDEOVER_BENCH_ROWS (5,000,000 in all) and TIDEOVER_BENCH_ROUNDS (3) make it smaller, TIDEOVER_BENCH_WITHOUT
// leaves out a peer.
const benchJobs = 2

// benchSettings are what a server of that size would have; both sides and all tools have the same.
var benchSettings = map[string]string{"shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "15min", "wal_level": "replica"}

func setting(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return otherwise
}

func BenchmarkCopyOAuth(b *testing.B) { benchmarkCopy(b, fillOAuth) }

func BenchmarkCopyPgbench(b *testing.B) { benchmarkCopy(b, fillPgbench) }

// fill fills an empty database and returns how many rows it has.
type fill func(b *testing.B, blue *pgserver.Server, dsn string) int

func benchmarkCopy(b *testing.B, fill fill) {
	options := pgserver.Options{Name: "blue", Fsync: true, Settings: benchSettings}
	blue := pgtest.NewServer(b, options)
	options.Name = "green"
	green := pgtest.NewServer(b, options)
	from, err := blue.CreateDatabase(b.Context(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	rows := fill(b, blue, from)
	// The first to read would read from the disk what the others find in memory.
	command(b, exec.CommandContext(b.Context(), filepath.Join(blue.BinDir(), "pg_dump"), "--data-only", "-f", os.DevNull, "-d", from))
	tools := []struct {
		name string
		copy func(b *testing.B, blue *pgserver.Server, from, to string) (memory int64)
	}{{"tideover", copyOurs}, {"pgcopydb", copyPgcopydb}, {"pgdump", copyDump}}
	for i := range tools {
		if tools[i].name == os.Getenv("TIDEOVER_BENCH_WITHOUT") {
			tools = slices.Delete(tools, i, i+1)
			break
		}
	}
	// The first to write would make the segments of write-ahead log that the others find ready to be used again.
	once(b, blue, green, from, func(to string) { copyOurs(b, blue, from, to) })
	rounds := setting("TIDEOVER_BENCH_ROUNDS", 3)
	times, memory := map[string][]time.Duration{}, int64(0)
	for b.Loop() {
		for round := range rounds {
			for i := range tools {
				tool := tools[(i+round)%len(tools)]
				used := cpu(b, blue) + cpu(b, green)
				times[tool.name] = append(times[tool.name], once(b, blue, green, from, func(to string) {
					memory = max(memory, tool.copy(b, blue, from, to))
				}))
				b.Logf("round %d: %-9s %6.1f s, %.1f s of the servers' CPU", round+1, tool.name, times[tool.name][round].Seconds(), (cpu(b, blue) + cpu(b, green) - used).Seconds())
			}
		}
	}
	median := map[string]float64{}
	for name, t := range times {
		slices.Sort(t)
		median[name] = t[len(t)/2].Seconds()
		b.ReportMetric(median[name], name+"-s")
	}
	b.ReportMetric(0, "ns/op") // of all tools and rounds together: says nothing
	b.ReportMetric(float64(rows), "rows")
	for _, peer := range tools[1:] {
		b.ReportMetric(median["tideover"]/median[peer.name], "×"+peer.name)
	}
	b.ReportMetric(float64(memory)/(1<<20), "our-MiB")
}

// once measures one copy into a new database, with the caches of both servers as they are and no checkpoint due.
func once(b *testing.B, blue, green *pgserver.Server, from string, copy func(to string)) time.Duration {
	b.Helper()
	to, err := green.CreateDatabase(b.Context(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	sql(b, from, "CHECKPOINT")
	sql(b, to, "CHECKPOINT")
	began := time.Now()
	copy(to)
	took := time.Since(began)
	if err := green.DropDatabase(b.Context(), "bench"); err != nil {
		b.Fatal(err)
	}
	return took
}

// cpu is how much time a server has had of the processors, by all of its sessions that have ended.
func cpu(b *testing.B, s *pgserver.Server) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID()))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat)) // proc(5): 14 to 17 are utime, stime, cutime, cstime, in hundredths of a second
	var sum time.Duration
	for _, f := range fields[13:17] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(n) * 10 * time.Millisecond
	}
	return sum
}

// copyOurs runs as a process of its own: its memory is measured alone.
func copyOurs(b *testing.B, blue *pgserver.Server, from, to string) int64 {
	c := childCopy{Blue: from, Green: to, BinDir: blue.BinDir(), Jobs: benchJobs}.command(b.Context())
	return peak(b, command(b, c))
}

func copyPgcopydb(b *testing.B, _ *pgserver.Server, from, to string) int64 {
	jobs := strconv.Itoa(benchJobs)
	command(b, exec.CommandContext(b.Context(), "pgcopydb", "clone", "--source", from, "--target", to, "--dir", filepath.Join(b.TempDir(), "pgcopydb"),
		"--table-jobs", jobs, "--index-jobs", jobs, "--no-owner", "--no-acl", "--no-comments"))
	return 0
}

func copyDump(b *testing.B, blue *pgserver.Server, from, to string) int64 {
	jobs, dir := strconv.Itoa(benchJobs), filepath.Join(b.TempDir(), "dump")
	command(b, exec.CommandContext(b.Context(), filepath.Join(blue.BinDir(), "pg_dump"), "-Fd", "-j", jobs, "-f", dir, "-d", from))
	command(b, exec.CommandContext(b.Context(), filepath.Join(blue.BinDir(), "pg_restore"), "-j", jobs, "-d", to, dir))
	sql(b, to, "ANALYZE") // as the others do
	return 0
}

func command(b *testing.B, c *exec.Cmd) []byte {
	b.Helper()
	out, err := c.CombinedOutput()
	if err != nil {
		b.Fatalf("%s: %v: %s", filepath.Base(c.Path), err, out[max(0, len(out)-2000):])
	}
	return out
}

func sql(b *testing.B, dsn string, statements ...string) {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(b.Context())
	for _, s := range statements {
		if _, err := conn.PgConn().Exec(b.Context(), s).ReadAll(); err != nil {
			b.Fatal(err)
		}
	}
}

// fillOAuth makes the bundled server's schema of 1.1 and users who logged in, consented and got tokens: eleven rows each,
// the tokens with a session of about a kilobyte, every twentieth with one that Postgres stores out of line.
func fillOAuth(b *testing.B, blue *pgserver.Server, dsn string) int {
	users := setting("TIDEOVER_BENCH_ROWS", 5_000_000) / 11
	empty, err := blue.CreateDatabase(b.Context(), "shape")
	if err != nil {
		b.Fatal(err)
	}
	if err := migrate.NewGoose(schema.Files(), 11004).Migrate(b.Context(), empty); err != nil {
		b.Fatal(err)
	}
	section := func(name string) string {
		c := exec.CommandContext(b.Context(), filepath.Join(blue.BinDir(), "pg_dump"), "--schema-only", "--section="+name, "-d", empty)
		out, err := c.Output()
		if err != nil {
			b.Fatal(err)
		}
		var kept []string
		for line := range strings.Lines(string(out)) {
			if !strings.HasPrefix(line, `\`) {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "")
	}
	sql(b, dsn, section("pre-data"), fmt.Sprintf(oauthRows, users), "RESET ALL", section("post-data"), "VACUUM ANALYZE")
	return users * 11
}

const oauthRows = `
SET search_path = public; SET synchronous_commit = off;
CREATE TEMPORARY TABLE sessions (n int PRIMARY KEY, session text);
INSERT INTO sessions SELECT i, '{"subject":"user","extra":"' || (SELECT string_agg(md5(i::text || k::text), '-') FROM generate_series(1, CASE WHEN i %% 20 = 0 THEN 120 ELSE 28 END) k) || '"}'
	FROM generate_series(0, 1999) i;
CREATE FUNCTION pg_temp.session(i int) RETURNS text STABLE LANGUAGE sql AS $$ SELECT session FROM pg_temp.sessions WHERE n = i %% 2000 $$;
INSERT INTO oauth_client (id, name, owner) SELECT 'app' || i, 'App ' || i, 'owner' || i FROM generate_series(0, 499) i;
INSERT INTO oauth_client_details (client_id) SELECT 'app' || i FROM generate_series(0, 499) i;
INSERT INTO oauth_session (id, subject, remember) SELECT md5('s' || i), 'user-' || i, i %% 3 = 0 FROM generate_series(1, %[1]d) i;
INSERT INTO oauth_login_request (challenge, verifier, client_id, session_id, subject, request_url, requested_scope, requested_at)
	SELECT md5('l' || i), md5('lv' || i), 'app' || i %% 500, md5('s' || i), 'user-' || i,
	'https://auth.example.com/oauth2/auth?client_id=app' || i %% 500 || '&response_type=code&scope=openid%%20offline&state=' || md5('st' || i), 'openid offline', now() - i * interval '1 s'
	FROM generate_series(1, %[1]d) i;
INSERT INTO oauth_login_handled (challenge, subject, was_used, authenticated_at) SELECT md5('l' || i), 'user-' || i, true, now() - i * interval '1 s' FROM generate_series(1, %[1]d) i;
INSERT INTO oauth_consent_request (challenge, verifier, login_challenge, client_id, subject, requested_scope, request_url)
	SELECT md5('k' || i), md5('kv' || i), md5('l' || i), 'app' || i %% 500, 'user-' || i, 'openid offline', 'https://auth.example.com/oauth2/auth?state=' || md5('st' || i) FROM generate_series(1, %[1]d) i;
INSERT INTO oauth_consent_handled (challenge, granted_scope, was_used, session_id_token) SELECT md5('k' || i), 'openid offline', true, pg_temp.session(i) FROM generate_series(1, %[1]d) i;
INSERT INTO oauth_code (signature, request_id, client_id, subject, consent_challenge, scope, session_data, active, expires_at)
	SELECT md5('c' || i), md5('k' || i), 'app' || i %% 500, 'user-' || i, md5('k' || i), 'openid offline', pg_temp.session(i + 3), false, now() FROM generate_series(1, %[1]d) i;
INSERT INTO oauth_access (signature, request_id, client_id, subject, consent_challenge, scope, session_data, expires_at)
	SELECT md5('a' || n || i), md5('k' || i), 'app' || i %% 500, 'user-' || i, md5('k' || i), 'openid offline', pg_temp.session(i + n), now() + n * interval '1 h' FROM generate_series(1, %[1]d) i, generate_series(1, 2) n;
INSERT INTO oauth_refresh (signature, request_id, client_id, subject, consent_challenge, scope, session_data, active, expires_at)
	SELECT md5('r' || n || i), md5('k' || i), 'app' || i %% 500, 'user-' || i, md5('k' || i), 'openid offline', pg_temp.session(i + n), n = 3, now() + n * interval '1 h' FROM generate_series(1, %[1]d) i, generate_series(1, 3) n;`

// fillPgbench makes pgbench's database, of 50 million bytes more or less.
func fillPgbench(b *testing.B, blue *pgserver.Server, dsn string) int {
	scale := max(1, setting("TIDEOVER_BENCH_ROWS", 5_000_000)/100_000)
	command(b, exec.CommandContext(b.Context(), filepath.Join(blue.BinDir(), "pgbench"), "-i", "-q", "--foreign-keys", "-s", strconv.Itoa(scale), dsn))
	return scale * 100_011
}
