package prove

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/child"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/sqlrewrite"
)

// ours are tables of the migration tools: goose's, and those that a live migration works with and drops.
var ours = []string{"goose_db_version", migrate.LedgerTable, sqlrewrite.BackfillTable}

// Dump is a database's schema as pg_dump -s writes it, without what differs between any two dumps, and without goose's own
// table. binDir is a folder with pg_dump; "": PATH. The password goes by the environment.
func Dump(ctx context.Context, dsn, binDir string) (string, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return "", fmt.Errorf("pg_dump: the connection string can't be read")
	}
	program := "pg_dump"
	if binDir != "" {
		program = filepath.Join(binDir, program)
	}
	args := []string{"--schema-only", "--no-password", "--host=" + config.Host, "--port=" + strconv.Itoa(int(config.Port)), "--username=" + config.User,
		"--dbname=" + config.Database, "--exclude-table=goose_db_version*"}
	var stdout, stderr bytes.Buffer
	c := exec.CommandContext(ctx, program, args...)
	c.Env = append(child.Environment("PGSSL*", "PGSYSCONFDIR"), "PGPASSWORD="+config.Password)
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("pg_dump: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	var b strings.Builder
	for line := range strings.Lines(stdout.String()) {
		// Since 15.14 a dump is wrapped in a random word.
		if !strings.HasPrefix(line, `\restrict`) && !strings.HasPrefix(line, `\unrestrict`) {
			b.WriteString(line)
		}
	}
	return b.String(), nil
}

// orderless is a dump in which the columns of each table are sorted.
func orderless(dump string) string {
	var out, columns []string
	inside := false
	for line := range strings.Lines(dump) {
		switch {
		case inside && strings.HasPrefix(line, ")"):
			slices.Sort(columns)
			out, columns, inside = append(append(out, columns...), line), nil, false
		case inside:
			columns = append(columns, strings.TrimSuffix(strings.TrimRight(line, "\n"), ",")+"\n")
		default:
			inside = strings.HasPrefix(line, "CREATE TABLE ") && strings.HasSuffix(line, "(\n")
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}
