package sqlrewrite

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// PrismaFormat is a folder for each migration, with migration.sql, beside migration_lock.toml.
const PrismaFormat Format = "prisma"

const prismaLock = "migration_lock.toml"

// Source: prisma-engines' schema-engine (apply_migrations.rs, sql_migration_persistence.rs, checksum.rs, flavour/postgres.rs) and
// prisma's listMigrations.ts. A file that comes late runs, one that has changed since is let be by migrate deploy, and a database that has
// tables but not Prisma's is refused.
func prismaLayout() *layout {
	r := &Records{Table: "_prisma_migrations", Fresh: true,
		Create: `CREATE TABLE IF NOT EXISTS _prisma_migrations (id VARCHAR(36) PRIMARY KEY NOT NULL, checksum VARCHAR(64) NOT NULL, finished_at TIMESTAMPTZ,
			migration_name VARCHAR(255) NOT NULL, logs TEXT, rolled_back_at TIMESTAMPTZ, started_at TIMESTAMPTZ NOT NULL DEFAULT now(), applied_steps_count INTEGER NOT NULL DEFAULT 0)`,
		Read: "SELECT ARRAY[migration_name, (finished_at IS NOT NULL)::text] FROM _prisma_migrations WHERE rolled_back_at IS NULL"}
	r.inPlace = func(rows [][]string, scripts []*Script) ([]*Script, error) {
		for _, row := range rows {
			if row[1] != "true" {
				return nil, halfDone(r.Table, row[0], "begun, neither finished nor rolled back: prisma migrate resolve")
			}
		}
		return noted(rows, scripts)
	}
	return &layout{name: PrismaFormat, claims: func(t *tree) string {
		if slices.Contains(t.others, prismaLock) {
			return prismaLock
		}
		return ""
	}, below: true, read: prismaFolder, places: true, records: r}
}

var prismaProvider = regexp.MustCompile(`(?m)^provider\s*=\s*"?([^"\r\n]*)"?\s*$`)

// prismaFolder reads the folders in the order of their names.
func prismaFolder(t *tree) ([]*Script, error) {
	if slices.Contains(t.others, prismaLock) {
		_, text, err := t.read(prismaLock)
		if err != nil {
			return nil, err
		}
		if m := prismaProvider.FindStringSubmatch(text); m == nil || m[1] != "postgresql" {
			return nil, &Error{File: prismaLock, Msg: "its provider isn't postgresql", Try: "name the folder of the migrations for Postgres"}
		}
	}
	if len(t.files) > 0 {
		return nil, refused(sorted(t.files)[0], "Prisma runs no file beside the folders", "put it elsewhere, or name the tool's format that it is of")
	}
	var scripts []*Script
	for i, dir := range t.dirs {
		if i > 0 && !sameOrder(t.dirs[i-1], dir) {
			return nil, refused(dir, "whether it comes before "+t.dirs[i-1]+" depends on which version of Prisma is asked", "name folders <14 digits>_<name>, in lower case")
		}
		name := dir + "/migration.sql"
		raw, text, err := t.read(name)
		if err != nil {
			return nil, refused(dir, "the folder has no migration.sql, and Prisma stops at it", "put it elsewhere")
		}
		s, err := parsePair(name, text, "", "")
		if err != nil {
			return nil, err
		}
		s.asSent(true)
		sum := sha256.Sum256([]byte(raw))
		s.vendor, s.sum = dir, hex.EncodeToString(sum[:])
		const note = `INSERT INTO _prisma_migrations (id, checksum, started_at, finished_at, migration_name, applied_steps_count) VALUES (gen_random_uuid()::text, %s, now(), now(), %s, 1)`
		if err := s.recordAs(fmt.Sprintf(note, quoted(s.sum), quoted(dir)), ""); err != nil {
			return nil, err
		}
		scripts = append(scripts, s)
	}
	if len(scripts) == 0 {
		return nil, &Error{File: ".", Msg: "no folder in it has a migration.sql", Try: "name the folder that has the migrations' folders"}
	}
	byPlace(scripts, func(s *Script) string { return s.vendor })
	return scripts, nil
}

// sameOrder: a comes before b as bytes, and for whoever sorts as people do: the underscore before digits, digits before letters, whatever
// their case. Prisma has sorted in both ways.
func sameOrder(a, b string) bool {
	rank := func(s string, i int) (int, rune) {
		switch {
		case i >= len(s):
			return 0, 0
		case s[i] == '_':
			return 1, 0
		case s[i] == '-':
			return 2, 0
		case s[i] >= '0' && s[i] <= '9':
			return 3, rune(s[i])
		case s[i] >= 'a' && s[i] <= 'z' || s[i] >= 'A' && s[i] <= 'Z':
			return 4, rune(s[i] | ' ')
		}
		return -1, 0
	}
	for i := range max(len(a), len(b)) {
		ra, ca := rank(a, i)
		rb, cb := rank(b, i)
		switch {
		case i < min(len(a), len(b)) && a[i] == b[i]:
		case ra < 0 || rb < 0:
			return strings.HasPrefix(b, a)
		case ra != rb:
			return ra < rb
		case ca != cb:
			return ca < cb
		}
	}
	return false // they differ in case alone
}
