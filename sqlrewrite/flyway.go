package sqlrewrite

import (
	"fmt"
	"hash/crc32"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// FlywayFormat is V<version>__<description>.sql and R__<description>.sql, in the folder and those below.
const FlywayFormat Format = "flyway"

// Source: flyway-core's api/MigrationVersion, internal/resource/ResourceNameParser, internal/resolver/ChecksumCalculator and
// sql/SqlMigrationResolver, internal/info/MigrationInfoImpl and MigrationInfoServiceImpl, internal/sqlscript/SqlScriptMetadata, and
// PostgreSQLDatabase; all with what Flyway is configured to by default.
func flywayLayout() *layout {
	r := &Records{Table: flywayTable, Fresh: true,
		Create: `CREATE TABLE IF NOT EXISTS flyway_schema_history (installed_rank INT NOT NULL, version VARCHAR(50), description VARCHAR(200) NOT NULL, type VARCHAR(20) NOT NULL,
			script VARCHAR(1000) NOT NULL, checksum INTEGER, installed_by VARCHAR(100) NOT NULL, installed_on TIMESTAMP NOT NULL DEFAULT now(), execution_time INTEGER NOT NULL,
			success BOOLEAN NOT NULL, CONSTRAINT flyway_schema_history_pk PRIMARY KEY (installed_rank));
			CREATE INDEX IF NOT EXISTS flyway_schema_history_s_idx ON flyway_schema_history (success)`,
		Read:    `SELECT ARRAY[coalesce(version, ''), description, type, script, coalesce(checksum::text, ''), success::text] FROM flyway_schema_history ORDER BY installed_rank`,
		inPlace: flywayInPlace}
	return &layout{name: FlywayFormat, claims: func(t *tree) string {
		names, err := t.sqlBelow()
		if err != nil {
			return ""
		}
		for _, n := range names {
			if flywayShape.MatchString(path.Base(n)) {
				return "the name of " + n
			}
		}
		return ""
	}, below: true, read: flywayFolder, places: true, records: r}
}

const flywayTable = "flyway_schema_history"

var (
	flywayShape  = regexp.MustCompile(`^(V\d[\d._]*__.*|R__.*)\.(?i:sql)$`)
	flywayNear   = regexp.MustCompile(`^[VUB][\d._-]|^R_`)
	flywayNumber = regexp.MustCompile(`^\d+([._]\d+)*$`)
	flywayCode   = regexp.MustCompile(`^(V\d.*|R__.*)\.(java|class|py|ps1|bat|cmd|sh|bash|rs|kt|groovy)$|^mod\.rs$`)
	flywayHook   = regexp.MustCompile(`^((before|after)(Migrate|Each|Repeatables|Versioned|Validate|Connect|CreateSchema)\w*|createSchema)(__.*)?\.(?i:sql)$`)
	flywayConf   = regexp.MustCompile(`^\s*(?:flyway\.)?(\w+)\s*=\s*(.*?)\s*$`)
)

// sqlBelow are the names of all .sql files, those in folders below too.
func (t *tree) sqlBelow() ([]string, error) {
	var names []string
	err := fs.WalkDir(t.fsys, ".", func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("migrations: %w", err)
		}
		if !e.IsDir() && strings.EqualFold(path.Ext(p), ".sql") {
			names = append(names, p)
		}
		return nil
	})
	return names, err
}

// flywayFolder reads the versioned files in the order of their versions, and the repeatable ones behind them in that of their descriptions.
func flywayFolder(t *tree) ([]*Script, error) {
	if err := t.flywayStrangers(); err != nil {
		return nil, err
	}
	names, err := t.sqlBelow()
	if err != nil {
		return nil, err
	}
	var scripts []*Script
	for _, n := range names {
		s, err := t.flywayScript(n)
		if err != nil {
			return nil, err
		}
		if s != nil {
			scripts = append(scripts, s)
		}
	}
	if len(scripts) == 0 {
		return nil, &Error{File: ".", Msg: "the folder has no migration of Flyway's", Try: "V<version>__<description>.sql"}
	}
	slices.SortStableFunc(scripts, compareFlyway)
	for i := 1; i < len(scripts); i++ {
		if compareFlyway(scripts[i-1], scripts[i]) == 0 {
			return nil, twice(scripts[i].Name, scripts[i-1].Name)
		}
	}
	byPlace(scripts, func(s *Script) string { return strings.TrimSuffix(path.Base(s.Name), path.Ext(s.Name)) })
	return scripts, nil
}

// flywayStrangers refuses what Flyway would run as well, and isn't SQL.
func (t *tree) flywayStrangers() error {
	return fs.WalkDir(t.fsys, ".", func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && flywayCode.MatchString(path.Base(p)) {
			return &Error{File: p, Msg: "it is a migration in another language than SQL", Try: "use the vendor's own command (command: …)"}
		}
		return err
	})
}

// flywayScript reads one file; nil: it is none that Flyway migrates with.
func (t *tree) flywayScript(n string) (*Script, error) {
	base := path.Base(n)
	version, title, _ := strings.Cut(strings.TrimSuffix(base[1:], path.Ext(base)), "__")
	repeatable := strings.HasPrefix(base, "R__")
	switch {
	case flywayHook.MatchString(base):
		return nil, refused(n, "Flyway runs it around its migrations", "put what it does into a migration, or use the vendor's own command (command: …)")
	case base[0] == 'U' && flywayNumber.MatchString(version):
		return nil, nil // takes a migration back; migrate never looks at it
	case base[0] == 'B' && flywayNumber.MatchString(version):
		return nil, refused(n, "it stands for all files up to its version, in an empty database", "take it away: the files that it stands for are run")
	case repeatable, base[0] == 'V' && flywayNumber.MatchString(version):
	case flywayNear.MatchString(base):
		return nil, refused(n, "its name has no version that Flyway understands; Flyway would pass over it without a word", "name files V<version>__<description>.sql, with two underscores")
	default:
		return nil, nil
	}
	raw, text, err := t.read(n)
	if err != nil {
		return nil, err
	}
	outside, literal, err := t.flywayConf(n)
	if err != nil {
		return nil, err
	}
	if !literal {
		if text, err = t.flywayFilled(n, text); err != nil {
			return nil, err
		}
		if repeatable {
			raw = text // Flyway sums up what it runs, and so runs it again when a value has changed
		}
	}
	s, err := parsePair(n, text, "", "")
	if err != nil {
		return nil, err
	}
	if err := s.flywayOutside(outside); err != nil {
		return nil, err
	}
	s.title, s.sum = strings.ReplaceAll(title, "_", " "), strconv.FormatInt(int64(flywaySum(raw)), 10)
	s.vendor = strings.ReplaceAll(version, "_", ".")
	versionSQL := quoted(s.vendor)
	if repeatable {
		s.vendor, versionSQL = "R__"+title, "NULL"
	}
	const note = `INSERT INTO flyway_schema_history (installed_rank, version, description, type, script, checksum, installed_by, execution_time, success)
		VALUES ((SELECT coalesce(max(installed_rank), 0) + 1 FROM flyway_schema_history), %s, %s, 'SQL', %s, %s, current_user, 0, true)`
	return s, s.recordAs(fmt.Sprintf(note, versionSQL, quoted(flywayShort(s.title)), quoted(n), s.sum), "")
}

// flywayFilled puts values in for placeholders, wherever they stand: Flyway reads no SQL there. Of its own it is known here what it calls a
// file, and its table.
func (t *tree) flywayFilled(n, text string) (string, error) {
	var b strings.Builder
	var missing []string
	first := -1
	for offset := 0; ; {
		before, rest, is := strings.Cut(text[offset:], "${")
		b.WriteString(before)
		if !is {
			break
		}
		at := offset + len(before)
		key, _, ends := strings.Cut(rest, "}")
		if !ends {
			return "", failure(n, text, at, "a placeholder without an end", "write } behind its name; where ${ means itself, placeholderReplacement=false in "+path.Base(n)+".conf")
		}
		value, known := t.placeholders[key]
		switch {
		case known:
		case key == "flyway:filename":
			value = path.Base(n)
		case key == "flyway:table":
			value = flywayTable
		default:
			if first < 0 {
				first = at
			}
			if !slices.Contains(missing, "${"+key+"}") {
				missing = append(missing, "${"+key+"}")
			}
		}
		b.WriteString(value)
		offset = at + len("${") + len(key) + len("}")
	}
	if len(missing) > 0 {
		return "", failure(n, text, first, "no value is given for "+strings.Join(missing, ", "), "--placeholder name=value, or placeholders: in the runbook; where ${ means itself, placeholderReplacement=false in "+path.Base(n)+".conf")
	}
	return b.String(), nil
}

// flywayOutside says whether a script runs without a transaction: its .conf says so, or a statement wants it. Flyway doesn't mix.
func (s *Script) flywayOutside(outside bool) error {
	s.unwrap()
	i := slices.IndexFunc(s.Up, func(st *Statement) bool { return outsideOnly(st.node) })
	j := slices.IndexFunc(s.Up, func(st *Statement) bool { return !outsideOnly(st.node) })
	if i >= 0 && j >= 0 && !outside {
		st := s.Up[i]
		return &Error{File: s.Name, Line: st.Line, Column: st.Column, Msg: "a statement that Postgres doesn't run in a transaction stands beside others, which Flyway doesn't run", Try: "give it a file of its own"}
	}
	s.NoTransaction = outside || i >= 0
	return nil
}

// flywayConf reads what stands beside a script in a .conf: whether it runs without a transaction, and whether ${…} means itself.
func (t *tree) flywayConf(n string) (outside, literal bool, _ error) {
	b, err := fs.ReadFile(t.fsys, n+".conf")
	if err != nil {
		return false, false, nil //nolint:nilerr // there is none
	}
	text, offset := withoutMark(b), 0
	for line := range strings.Lines(text) {
		rest := strings.TrimSpace(line)
		m := flywayConf.FindStringSubmatch(rest)
		switch {
		case rest == "" || strings.HasPrefix(rest, "#"):
		case m != nil && m[1] == "executeInTransaction" && (m[2] == "true" || m[2] == "false"):
			outside = m[2] == "false"
		case m != nil && m[1] == "placeholderReplacement" && (m[2] == "true" || m[2] == "false"):
			literal = m[2] == "false"
		case m != nil && m[1] == "encoding" && strings.EqualFold(m[2], "UTF-8"):
		default:
			return false, false, failure(n+".conf", text, offset, "what it means to Flyway isn't known here", "executeInTransaction, placeholderReplacement; or use the vendor's own command (command: …)")
		}
		offset += len(line)
	}
	return outside, literal, nil
}

// flywaySum is the CRC-32 of the lines without their ends, in whichever way they end.
func flywaySum(raw string) int32 {
	text := strings.NewReplacer("\r", "", "\n", "").Replace(strings.TrimPrefix(raw, "\ufeff"))
	return int32(crc32.ChecksumIEEE([]byte(text))) //nolint:gosec // it wraps, as Java's does
}

// flywayShort is a description as it fits into its column. Java counts in UTF-16.
func flywayShort(title string) string {
	if units := utf16.Encode([]rune(title)); len(units) > 200 {
		return string(utf16.Decode(units[:197])) + "..."
	}
	return title
}

// compareFlyway orders versions by their numbers, of which those that are missing are zeros; repeatable files come behind, by description.
func compareFlyway(a, b *Script) int {
	ra, rb := strings.HasPrefix(a.vendor, "R__"), strings.HasPrefix(b.vendor, "R__")
	switch {
	case ra && rb:
		return slices.Compare(utf16.Encode([]rune(a.title)), utf16.Encode([]rune(b.title)))
	case ra:
		return 1
	case rb:
		return -1
	}
	return compareVersions(a.vendor, b.vendor)
}

func compareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		x, y := "", ""
		if i < len(as) {
			x = strings.TrimLeft(as[i], "0")
		}
		if i < len(bs) {
			y = strings.TrimLeft(bs[i], "0")
		}
		if len(x) != len(y) {
			return len(x) - len(y)
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return 0
}
