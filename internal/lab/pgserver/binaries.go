package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// prefixes are where packagers put Postgres: Debian, the PGDG's RPMs, Homebrew on both kinds of Mac, the BSDs and
// builds from source, Postgres.app. Of several versions the newest is taken.
var prefixes = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/usr/local/pgsql/bin",
	"/usr/local/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// programs is the folder that was given, or the one that is found.
func (o Options) programs() (string, error) {
	if o.Programs == "" {
		return findServer()
	}
	if !has(o.Programs, "initdb", "postgres") {
		return "", hinted{fmt.Errorf("no initdb and postgres in %s", o.Programs), "give the absolute path of a folder that has both"}
	}
	return o.Programs, nil
}

// findServer returns a folder with initdb and postgres: PATH's, else the newest of the usual places.
func findServer() (string, error) {
	for _, dir := range candidates() {
		if !has(dir, "initdb", "postgres") {
			continue
		}
		// A folder of links, such as /usr/local/bin, may have only some of the programs: go where they lead.
		if real, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres")); err == nil && has(filepath.Dir(real), "initdb", "postgres") {
			return filepath.Dir(real), nil
		}
		return dir, nil
	}
	return "", hinted{
		errors.New("no initdb and postgres in PATH or the usual places"),
		"install Postgres (Debian: apt-get install postgresql; macOS: brew install postgresql@15)",
	}
}

// findClients returns a folder with pg_dump and psql that are not older than the server, or "".
// A client of the same version is preferred: a newer pg_dump writes a newer server's dialect.
func findClients(version int) string {
	best, found := 0, ""
	for _, dir := range candidates() {
		if !has(dir, "pg_dump", "psql") {
			continue
		}
		major := majorOf(filepath.Join(dir, "pg_dump"))
		if major >= version/10000 && (found == "" || major < best) {
			best, found = major, dir
		}
	}
	return found
}

// candidates lists folders in the order of preference, each once.
func candidates() []string {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	for _, p := range prefixes {
		matches, _ := filepath.Glob(p) // the patterns are constants and well formed
		slices.SortFunc(matches, func(a, b string) int { return versionIn(b) - versionIn(a) })
		dirs = append(dirs, matches...)
	}
	seen := map[string]bool{"": true}
	return slices.DeleteFunc(dirs, func(d string) bool {
		again := seen[d]
		seen[d] = true
		return again
	})
}

func has(dir string, programs ...string) bool {
	for _, p := range programs {
		info, err := os.Stat(filepath.Join(dir, p))
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return false
		}
	}
	return filepath.IsAbs(dir)
}

// versionIn reads the major version from a path such as /usr/lib/postgresql/15/bin; 0 when it has none.
func versionIn(path string) int {
	digits := strings.FieldsFunc(path, func(r rune) bool { return r < '0' || r > '9' })
	if len(digits) == 0 {
		return 0
	}
	v, _ := strconv.Atoi(digits[0])
	return v
}

// majorOf asks a program for its version: "pg_dump (PostgreSQL) 15.18 (Debian …)"; 0 when it does not say.
func majorOf(program string) int {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return 0
	}
	var major int
	_, rest, _ := strings.Cut(string(out), "(PostgreSQL) ")
	if _, err := fmt.Sscanf(rest, "%d", &major); err != nil {
		return 0
	}
	return major
}
