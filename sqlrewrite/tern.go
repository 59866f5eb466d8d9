package sqlrewrite

import (
	"regexp"
	"strconv"
	"strings"
)

// TernFormat is <number>_<name>.sql, in which "---- create above / drop below ----" divides the way forth from that back.
const TernFormat Format = "tern"

const ternDivider = "---- create above / drop below ----"

var (
	ternName    = regexp.MustCompile(`^(\d+)_.+\.sql$`)
	ternOutside = regexp.MustCompile(`(?m)^---- tern: disable-tx ----$`)
)

// Source: tern's migrate/migrate.go: one row, the newest number, of files that are numbered from 1 without a gap.
func ternLayout() *layout {
	r := &Records{Table: "schema_version", Newest: true,
		Create: `CREATE TABLE IF NOT EXISTS schema_version (version int4 NOT NULL PRIMARY KEY);
			INSERT INTO schema_version (version) SELECT 0 WHERE NOT EXISTS (SELECT FROM schema_version)`,
		Read: "SELECT ARRAY[version::text] FROM schema_version",
		up:   "WITH gone AS (DELETE FROM schema_version) INSERT INTO schema_version (version) VALUES (%[1]s)"}
	r.inPlace = func(rows [][]string, scripts []*Script) ([]*Script, error) {
		if len(rows) != 1 {
			return nil, &Error{File: r.Table, Msg: "it has " + strconv.Itoa(len(rows)) + " rows, where tern has one", Try: "mend the table"}
		}
		if rows[0][0] == "0" {
			return nil, nil
		}
		return upTo(r.Table, rows, scripts)
	}
	return &layout{name: TernFormat, claims: func(t *tree) string {
		for _, n := range sorted(t.files) {
			if strings.Contains(t.files[n], ternDivider) || ternOutside.MatchString(t.files[n]) {
				return "tern's dividing line in " + n
			}
		}
		return ""
	}, read: func(t *tree) ([]*Script, error) { return ternFolder(t, r) }, records: r}
}

// ternFolder reads the files that have a number; what else is in the folder is nothing to tern.
func ternFolder(t *tree, r *Records) ([]*Script, error) {
	var scripts []*Script
	for _, n := range sorted(t.files) {
		m := ternName.FindStringSubmatch(n)
		if m == nil {
			continue
		}
		text := t.files[n]
		if at := strings.Index(text, "{{"); at >= 0 {
			return nil, failure(n, text, at, "it is a template: what the SQL says is known only to tern", "write out what the template becomes")
		}
		up, down, back := strings.Cut(text, ternDivider)
		s, err := parsePair(n, up, "", "")
		if err != nil {
			return nil, err
		}
		if len(s.Up) == 0 {
			return nil, refused(n, "there is no statement above the dividing line, and tern stops at it", "give it one")
		}
		if back {
			s.withDown(n, blanked(up+ternDivider)+down)
		}
		s.unwrap()
		s.NoTransaction = ternOutside.MatchString(up)
		if err := s.number(m[1], strings.TrimSuffix(n[len(m[1]):], ".sql")); err != nil {
			return nil, err
		}
		v := versionOf(s)
		s.vendor = strconv.FormatInt(v, 10)
		if err := s.recordAs(withVersion(r.up, s.vendor), withVersion(r.up, strconv.FormatInt(v-1, 10))); err != nil {
			return nil, err
		}
		scripts = append(scripts, s)
	}
	if len(scripts) == 0 {
		return nil, &Error{File: ".", Msg: "the folder has no migration of tern's", Try: "<number>_<name>.sql"}
	}
	if err := inOrder(scripts); err != nil {
		return nil, err
	}
	for i, s := range scripts {
		if versionOf(s) != int64(i+1) {
			return nil, refused(s.Name, "number "+strconv.Itoa(i+1)+" is missing before it, and tern stops there", "number the files from 1 without a gap")
		}
	}
	return scripts, nil
}
