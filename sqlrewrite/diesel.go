package sqlrewrite

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// DieselFormat is a folder for each migration, with up.sql and down.sql.
const DieselFormat Format = "diesel"

// Source: diesel's diesel_migrations (migrations_internals, file_based_migrations.rs, migration_harness.rs) and its
// setup_migration_table.sql. A file that comes late runs; a version that no folder has counts for nothing.
func dieselLayout() *layout {
	r := &Records{Table: "__diesel_schema_migrations",
		Create: "CREATE TABLE IF NOT EXISTS __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL, run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)",
		Read:   "SELECT ARRAY[version] FROM __diesel_schema_migrations", inPlace: noted,
		up: "INSERT INTO __diesel_schema_migrations (version) VALUES (%[1]s)", down: "DELETE FROM __diesel_schema_migrations WHERE version = %[1]s"}
	return &layout{name: DieselFormat, claims: dieselClaims, below: true, read: func(t *tree) ([]*Script, error) { return dieselFolder(t, r) }, places: true, records: r}
}

// dieselName is what diesel names a folder by itself. Hasura's have 13 digits.
var dieselName = regexp.MustCompile(`^(\d{4}-\d\d-\d\d-\d{6}(-\d+)?|\d{14})(_.*)?$|_diesel_initial_setup$`)

func dieselClaims(t *tree) string {
	for _, dir := range t.dirs {
		names, _, err := t.names(dir)
		if err == nil && slices.Contains(names, "up.sql") && (dieselName.MatchString(dir) || slices.Contains(names, "metadata.toml")) {
			return "up.sql in " + dir
		}
	}
	return ""
}

// dieselFolder reads the folders in the order of their versions, which are text: what stands before the first underscore, without hyphens.
func dieselFolder(t *tree, r *Records) ([]*Script, error) {
	var scripts []*Script
	for _, dir := range t.dirs {
		names, hidden, err := t.names(dir)
		if err != nil {
			return nil, err
		}
		if len(names)+hidden == 0 {
			continue
		}
		if !slices.Contains(names, "up.sql") {
			return nil, refused(dir, "the folder has no up.sql, and diesel stops at it", "put it elsewhere")
		}
		raw, text, err := t.read(dir + "/up.sql")
		if err != nil {
			return nil, err
		}
		if raw == "" {
			return nil, refused(dir+"/up.sql", "it is empty, and diesel stops at it", "put a comment into it")
		}
		s, err := parsePair(dir+"/up.sql", text, "", "")
		if err != nil {
			return nil, err
		}
		if slices.Contains(names, "down.sql") {
			_, down, err := t.read(dir + "/down.sql")
			if err != nil {
				return nil, err
			}
			s.withDown(dir+"/down.sql", down)
		}
		outside := false
		if slices.Contains(names, "metadata.toml") {
			if outside, err = t.dieselOutside(dir + "/metadata.toml"); err != nil {
				return nil, err
			}
		}
		s.asSent(outside)
		version, _, _ := strings.Cut(dir, "_")
		s.vendor = strings.ReplaceAll(version, "-", "")
		scripts = append(scripts, s)
	}
	if len(scripts) == 0 {
		return nil, &Error{File: ".", Msg: "no folder in it has an up.sql", Try: "name the folder that has the migrations' folders"}
	}
	slices.SortStableFunc(scripts, func(a, b *Script) int { return strings.Compare(a.vendor, b.vendor) })
	for i, s := range scripts {
		if i > 0 && s.vendor == scripts[i-1].vendor {
			return nil, twice(s.Name, scripts[i-1].Name)
		}
		if err := s.record(r.up, r.down); err != nil {
			return nil, err
		}
	}
	byPlace(scripts, func(s *Script) string { return strings.TrimSuffix(s.Name, "/up.sql") })
	return scripts, nil
}

var dieselKey = regexp.MustCompile(`^\s*run_in_transaction\s*=\s*(true|false)\s*(#.*)?$`)

// dieselOutside: a metadata.toml says that the migration runs without a transaction. One that doesn't say either means that it does.
func (t *tree) dieselOutside(name string) (bool, error) {
	_, text, err := t.read(name)
	if err != nil {
		return false, err
	}
	outside, offset := true, 0
	for line := range strings.Lines(text) {
		if m := dieselKey.FindStringSubmatch(strings.TrimRight(line, "\r\n")); m != nil {
			outside = m[1] == "false"
		} else if rest := strings.TrimSpace(line); rest != "" && !strings.HasPrefix(rest, "#") {
			return false, failure(name, text, offset, fmt.Sprintf("what %q means to diesel isn't known", rest), "run_in_transaction = true or false")
		}
		offset += len(line)
	}
	return outside, nil
}
