package snapshot

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/child"
	"github.com/tideover/tideover/internal/postgres"
)

// prefixes are where packagers put Postgres' programs: Debian, the PGDG's RPMs, Homebrew, builds from source.
var prefixes = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/opt/homebrew/opt/libpq/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/usr/local/pgsql/bin",
	"/usr/local/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// ProgramError says that no pg_dump on this machine can read the server.
type ProgramError struct {
	Server int      // the server's major version
	Found  []string // programs that are too old or do not answer, with their versions
}

// Error names what was looked for and what was found.
func (e *ProgramError) Error() string {
	if len(e.Found) == 0 {
		return fmt.Sprintf("no pg_dump and pg_restore for Postgres %d on this machine", e.Server)
	}
	return fmt.Sprintf("no pg_dump and pg_restore for Postgres %d on this machine, only %s", e.Server, strings.Join(e.Found, ", "))
}

// Hint says how to get one.
func (e *ProgramError) Hint() string {
	return fmt.Sprintf("install Postgres' client programs of version %d or newer (Debian: postgresql-client-%d), or name their folder", e.Server, e.Server)
}

// programs finds a folder with pg_dump and pg_restore. pg_dump refuses a server newer than itself; of those that do
// not, the oldest is taken, because a newer one writes settings that an older green does not know. The search ends at the
// first of the server's own version.
// binDir, where given, is the only place looked at. version is server_version_num.
func programs(ctx context.Context, binDir string, version int) (string, error) {
	failed := &ProgramError{Server: version / 10000}
	best, found := 0, ""
	for _, dir := range folders(binDir) {
		program := filepath.Join(dir, "pg_dump")
		if !isProgram(program) || !isProgram(filepath.Join(dir, "pg_restore")) {
			continue
		}
		major := majorOf(ctx, program)
		if major == failed.Server {
			return dir, nil
		}
		if major < failed.Server {
			failed.Found = append(failed.Found, fmt.Sprintf("%s (%d)", program, major))
			continue
		}
		if found == "" || major < best {
			best, found = major, dir
		}
	}
	if found == "" {
		return "", cmp.Or(ctx.Err(), error(failed))
	}
	return found, nil
}

func folders(binDir string) []string {
	if binDir != "" {
		return []string{binDir}
	}
	dirs := filepath.SplitList(os.Getenv("PATH"))
	for _, p := range prefixes {
		matches, _ := filepath.Glob(p) // the patterns are constants and well formed
		dirs = append(dirs, matches...)
	}
	return slices.DeleteFunc(dirs, func(d string) bool { return !filepath.IsAbs(d) })
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir() && info.Mode()&0o111 != 0
}

// majorOf asks a program for its version: "pg_dump (PostgreSQL) 15.18 (Debian …)"; 0 when it does not say.
func majorOf(ctx context.Context, program string) int {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, program, "--version")
	c.Env = child.Environment()
	out, err := c.Output()
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(out), "(PostgreSQL) ")
	digits := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	major, _ := strconv.Atoi(rest[:max(digits, 0)])
	return major
}

// run runs one of Postgres' programs and returns its stdout. The error has the last lines of its stderr.
func run(ctx context.Context, env []string, program string, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	c := exec.CommandContext(ctx, program, args...)
	c.Env, c.Stdout, c.Stderr, c.WaitDelay = env, &stdout, &stderr, 5*time.Second
	if err := c.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		lines = lines[max(0, len(lines)-5):]
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(program), err, strings.Join(lines, "; "))
	}
	return stdout.Bytes(), nil
}

// libpqOptions are the settings of a connection string that libpq knows, that pgx keeps no trace of, and that are not
// secret. (pgx's own, such as pool_max_conns, would make libpq refuse the string.)
var libpqOptions = []string{"service", "passfile", "target_session_attrs", "sslnegotiation", "sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslsni", "gssencmode", "krbsrvname",
	"channel_binding", "connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count"}

// libpq turns a DSN into what Postgres' programs take: a connection string without the password, for the command line
// that every user of the machine can read, and an environment with it.
func libpq(dsn string) (conninfo string, env []string, err error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return "", nil, fmt.Errorf("the connection string is not valid: %w", err)
	}
	settings, err := words(dsn)
	if err != nil {
		return "", nil, err
	}
	var b strings.Builder
	add := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s='%s' ", name, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value))
		}
	}
	hosts, ports := hostsOf(config)
	add("host", hosts)
	add("port", ports)
	add("user", config.User)
	add("dbname", config.Database)
	for _, name := range libpqOptions {
		add(name, settings[name])
	}
	add("options", postgres.ProgramOptions(config))
	env = slices.DeleteFunc(child.Environment("PG*"), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		if name == "PGSERVICEFILE" && settings["servicefile"] != "" {
			return true
		}
		switch name { // what the connection string and the environment together mean is in config already
		case "PGPASSWORD", "PGDATABASE", "PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGOPTIONS", "PGAPPNAME", "PGTZ", "PGDATESTYLE", "PGCLIENTENCODING":
			return true
		}
		return false
	})
	if file := settings["servicefile"]; file != "" { // libpq knows it from the environment alone
		env = append(env, "PGSERVICEFILE="+file)
	}
	return strings.TrimSpace(b.String()), append(env, "PGPASSWORD="+config.Password, "PGAPPNAME=tideover/snapshot"), nil
}

// hostsOf lists the hosts that a connection string names, in its order, and the port of each. pgx keeps one entry for each way of
// trying one, with TLS and without.
func hostsOf(config *pgx.ConnConfig) (hosts, ports string) {
	h, p := []string{config.Host}, []string{strconv.Itoa(int(config.Port))}
	for _, f := range config.Fallbacks {
		port := strconv.Itoa(int(f.Port))
		if f.Host != h[len(h)-1] || port != p[len(p)-1] {
			h, p = append(h, f.Host), append(p, port)
		}
	}
	return strings.Join(h, ","), strings.Join(p, ",")
}

// words reads the settings out of a DSN in URL or keyword form (manual 34.1.1).
func words(dsn string) (map[string]string, error) {
	settings := map[string]string{}
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		u, err := url.Parse(dsn)
		if err != nil {
			return nil, errors.New("the connection string is not a URL") // the parser's error would quote the password
		}
		for name, values := range u.Query() {
			settings[name] = values[0]
		}
		return settings, nil
	}
	for rest := strings.TrimSpace(dsn); rest != ""; rest = strings.TrimSpace(rest) {
		name, value, ok := strings.Cut(rest, "=")
		if !ok {
			return nil, errors.New("the connection string has a keyword without a value")
		}
		var word string
		word, rest = quoted(strings.TrimLeft(value, " \t\n"))
		settings[strings.TrimSpace(name)] = word
	}
	return settings, nil
}

// quoted takes one value off the front of s: quoted by ' or ending at a blank, with \ before a literal character.
func quoted(s string) (word, rest string) {
	var b strings.Builder
	inQuotes := strings.HasPrefix(s, "'")
	i := 0
	if inQuotes {
		i = 1
	}
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case inQuotes && c == '\'':
			return b.String(), s[i+1:]
		case !inQuotes && (c == ' ' || c == '\t' || c == '\n'):
			return b.String(), s[i:]
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}
