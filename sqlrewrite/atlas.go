package sqlrewrite

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// AtlasFormat is <version>_<name>.sql beside atlas.sum.
const AtlasFormat Format = "atlas"

const (
	atlasSum   = "atlas.sum"
	atlasTable = "atlas_schema_revisions"
)

// Source: atlas' sql/migrate (dir.go, migrate.go) and cmd/atlas/internal/migrate (its ent schema). The table is that of a URL which names a
// schema; of one that doesn't, it stands in a schema of its own. Files that come late are refused, as with exec-order linear.
func atlasLayout() *layout {
	r := &Records{Table: atlasTable, Fresh: true,
		Create: `CREATE TABLE IF NOT EXISTS atlas_schema_revisions (version varchar NOT NULL, description varchar NOT NULL, type bigint NOT NULL DEFAULT 2, applied bigint NOT NULL DEFAULT 0,
			total bigint NOT NULL DEFAULT 0, executed_at timestamptz NOT NULL, execution_time bigint NOT NULL, error text, error_stmt text, hash varchar NOT NULL,
			partial_hashes jsonb, operator_version varchar NOT NULL, PRIMARY KEY (version))`,
		Read:    `SELECT ARRAY[version, type::text, (applied = total)::text] FROM atlas_schema_revisions WHERE version <> '.atlas_cloud_identifier' ORDER BY version COLLATE "C"`,
		inPlace: atlasInPlace}
	return &layout{name: AtlasFormat, claims: func(t *tree) string {
		if slices.Contains(t.others, atlasSum) {
			return atlasSum
		}
		return ""
	}, read: atlasFolder, places: true, records: r}
}

var (
	atlasDirective = regexp.MustCompile(`(?m)^[ \t]*(?:--|#|/\*)[ \t]*atlas:(\w+)[ \t]*([^\r\n]*?)[ \t]*\r?$`)
	pairName       = regexp.MustCompile(`\.(up|down)\.sql$`)
)

// atlasFolder reads the files in the order of their names, if they are those of atlas.sum.
func atlasFolder(t *tree) ([]*Script, error) {
	sum := sha256.New()
	var scripts []*Script
	var lines strings.Builder
	total := sha256.New()
	for _, n := range sorted(t.files) {
		if pairName.MatchString(n) {
			return nil, refused(n, "its name is golang-migrate's: as what Atlas reads the folder depends on its configuration", "say format: golang-migrate if that tool runs the files, or use Atlas' own command (command: …)")
		}
		if strings.HasSuffix(n, ".fizz") {
			return nil, fizz(n)
		}
		raw, text, err := t.read(n)
		if err != nil {
			return nil, err
		}
		sum.Write([]byte(n + raw))
		hash := base64.StdEncoding.EncodeToString(sum.Sum(nil))
		total.Write([]byte(n + hash))
		fmt.Fprintf(&lines, "%s h1:%s\n", n, hash)
		outside, err := atlasOutside(n, text)
		if err != nil {
			return nil, err
		}
		s, err := parsePair(n, text, "", "")
		if err != nil {
			return nil, err
		}
		count := len(s.Up)
		s.unwrap()
		s.NoTransaction = outside
		version, title, _ := strings.Cut(strings.TrimSuffix(n, ".sql"), "_")
		s.vendor, s.title, s.sum = version, title, hash
		if i := len(scripts); i > 0 {
			switch before := scripts[i-1]; {
			case before.vendor == version:
				return nil, twice(n, before.Name)
			case before.vendor > version:
				return nil, refused(n, "by its name it comes behind "+before.Name+", by its version before it, and Atlas goes by both", "number files with the same count of digits")
			}
		}
		const note = `INSERT INTO atlas_schema_revisions (version, description, type, applied, total, executed_at, execution_time, hash, operator_version) VALUES (%s, %s, 2, %s, %[3]s, now(), 0, %s, 'tideover')`
		if err := s.recordAs(fmt.Sprintf(note, quoted(version), quoted(title), strconv.Itoa(count), quoted(hash)), ""); err != nil {
			return nil, err
		}
		scripts = append(scripts, s)
	}
	if len(scripts) == 0 {
		return nil, &Error{File: ".", Msg: "the folder has no migration of Atlas'", Try: "<version>_<name>.sql"}
	}
	if err := t.atlasIntact("h1:"+base64.StdEncoding.EncodeToString(total.Sum(nil))+"\n", lines.String()); err != nil {
		return nil, err
	}
	byPlace(scripts, func(s *Script) string { return strings.TrimSuffix(s.Name, ".sql") })
	return scripts, nil
}

// atlasIntact refuses a folder that isn't the one whose sums atlas.sum has: Atlas would.
func (t *tree) atlasIntact(first, lines string) error {
	if !slices.Contains(t.others, atlasSum) {
		return &Error{File: atlasSum, Msg: "it isn't there, and Atlas stops without it", Try: "atlas migrate hash"}
	}
	_, text, err := t.read(atlasSum)
	if err != nil {
		return err
	}
	want := strings.ReplaceAll(text, "\r\n", "\n")
	if strings.TrimRight(want, "\n") == strings.TrimRight(first+lines, "\n") {
		return nil
	}
	_, want, _ = strings.Cut(want, "\n")
	listed, here := strings.Split(want, "\n"), strings.Split(lines, "\n")
	file := atlasSum
	for i, line := range here {
		if name, _, is := strings.Cut(line, " h1:"); is && (i >= len(listed) || listed[i] != line) {
			file = name
			break
		}
	}
	return refused(file, "the folder isn't the one whose sums atlas.sum has, from here on: a file was added, changed or taken away, and Atlas stops there", "put it right and let atlas migrate hash write it anew")
}

// atlasOutside reads what a file says to Atlas: whether it runs without a transaction. What would change what is run is refused.
func atlasOutside(n, text string) (outside bool, _ error) {
	for _, m := range atlasDirective.FindAllStringSubmatchIndex(text, -1) {
		word, value := text[m[2]:m[3]], strings.TrimSpace(strings.TrimSuffix(text[m[4]:m[5]], "*/"))
		fail := func(msg, way string) error { return failure(n, text, m[2]-len("atlas:"), msg, way) }
		switch {
		case word == "nolint":
		case word == "checkpoint":
			return false, fail("it stands for all files before it, in an empty database", "take it away: the files that it stands for are run")
		case word == "txmode" && (value == "none" || value == "file"):
			if !atlasHeader(text, m[0]) {
				return false, fail("Atlas passes over it: it isn't apart from the first statement", "put it at the top, with an empty line behind")
			}
			outside = value == "none"
		default:
			return false, fail(fmt.Sprintf("what %q means to Atlas isn't known here", strings.TrimSpace("atlas:"+word+" "+value)), "atlas:txmode none, atlas:nolint; or use Atlas' own command (command: …)")
		}
	}
	return outside, nil
}

// atlasHeader: at a place, a text is still in the comments at its top, which an empty line ends.
func atlasHeader(text string, at int) bool {
	offset := 0
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "--"), strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			return at < offset
		default:
			return false
		}
		offset += len(line)
	}
	return at < offset
}

// atlasInPlace goes by the newest version that the table has: what is below it must be there too, from the first that the table has on.
func atlasInPlace(rows [][]string, scripts []*Script) ([]*Script, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	has := map[string]bool{}
	for _, row := range rows {
		if row[2] != "true" {
			return nil, halfDone(atlasTable, row[0], "applied is below total")
		}
		has[row[0]] = true
	}
	first, newest := rows[0][0], rows[len(rows)-1][0]
	var done []*Script
	for _, s := range scripts {
		switch {
		case s.vendor > newest:
		case has[s.vendor] || s.vendor < first:
			done = append(done, s)
		default:
			return nil, refused(s.Name, "it was never applied, but the later version "+newest+" was, and Atlas stops there", "give the file a version above it (atlas migrate rebase), or apply it by hand")
		}
	}
	return done, nil
}
