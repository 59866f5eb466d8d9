package sqlrewrite

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// LiquibaseFormat is Liquibase's formatted SQL: files with changesets, each of which is a migration.
const LiquibaseFormat Format = "liquibase"

// Source: liquibase-standard's parser/AbstractFormattedChangeLogParser, changelog/StandardChangeLogHistoryService, database.changelog. A
// changeset without a checksum is one whose checksum Liquibase works out the next time, as after its clear-checksums.
func liquibaseLayout() *layout {
	r := &Records{Table: "databasechangelog",
		Create: `CREATE TABLE IF NOT EXISTS databasechangelog (id VARCHAR(255) NOT NULL, author VARCHAR(255) NOT NULL, filename VARCHAR(255) NOT NULL, dateexecuted TIMESTAMP WITHOUT TIME ZONE NOT NULL,
			orderexecuted INTEGER NOT NULL, exectype VARCHAR(10) NOT NULL, md5sum VARCHAR(35), description VARCHAR(255), comments VARCHAR(255), tag VARCHAR(255), liquibase VARCHAR(20),
			contexts VARCHAR(255), labels VARCHAR(255), deployment_id VARCHAR(10))`,
		Read:    "SELECT ARRAY[id, author, filename, exectype] FROM databasechangelog ORDER BY orderexecuted",
		inPlace: liquibaseInPlace}
	return &layout{name: LiquibaseFormat, claims: func(t *tree) string {
		for _, n := range sorted(t.files) {
			if liquibaseFirst.MatchString(t.files[n]) {
				return "its first line in " + n
			}
		}
		return ""
	}, read: liquibaseFolder, places: true, records: r}
}

var (
	liquibaseFirst  = regexp.MustCompile(`(?i)^\s*--\s*liquibase\s*formatted[^\r\n]*`)
	liquibaseSet    = regexp.MustCompile(`(?i)^\s*--\s*changeset\s+("[^"]+"|[^:"]+):("[^"]+"|\S+)(.*)$`)
	liquibaseOption = regexp.MustCompile(`(\w+):("[^"]*"|\S*)`)
	liquibaseWord   = regexp.MustCompile(`(?i)^\s*-+\s*(changeset|property|preconditions?|ignore(?:lines)?:|comments?|validchecksum|rollback)\b:?\s?(.*)$`)
	liquibaseOther  = regexp.MustCompile(`(?i)\.(xml|ya?ml|json)$`)
	liquibaseParam  = regexp.MustCompile(`\$\{`)
	liquibaseLogic  = regexp.MustCompile(`(?i)logicalFilePath:(\S+)`)
)

// liquibaseFolder reads the files in the order of their names, as includeAll does.
func liquibaseFolder(t *tree) ([]*Script, error) {
	for _, n := range t.others {
		if liquibaseOther.MatchString(n) {
			return nil, &Error{File: n, Msg: "which files count, and in which order, may stand in it, and only Liquibase reads it", Try: "put it elsewhere, if the order is that of the files' names; else use the vendor's own command (command: …)"}
		}
	}
	if len(t.below) > 0 {
		return nil, &Error{File: t.below[0], Msg: "there are .sql files in a folder below: whether Liquibase includes them can't be told", Try: "name the folder whose own files are to be run"}
	}
	var scripts []*Script
	names := sorted(t.files)
	for _, n := range names {
		list, err := t.liquibaseFile(n, names)
		if err != nil {
			return nil, err
		}
		scripts = append(scripts, list...)
	}
	if len(scripts) == 0 {
		return nil, &Error{File: ".", Msg: "the folder has no changeset for Postgres", Try: "--changeset author:id"}
	}
	had := map[string]bool{}
	for _, s := range scripts {
		if had[s.vendor] {
			return nil, &Error{File: s.Name, Msg: "it has the changeset " + s.vendor + " twice", Try: "give one of them an id of its own"}
		}
		had[s.vendor] = true
	}
	byPlace(scripts, func(s *Script) string { return s.title })
	return scripts, nil
}

// changeset is a part of a file: text is as long as the file, with what is others' blanked.
type changeset struct {
	id, author string
	at         int
	outside    bool // it runs without a transaction
	skip       bool // it is another database's
	up, down   strings.Builder
}

func (t *tree) liquibaseFile(n string, names []string) ([]*Script, error) {
	_, text, err := t.read(n)
	if err != nil {
		return nil, err
	}
	first := liquibaseFirst.FindString(text)
	if first == "" {
		return nil, refused(n, `it doesn't begin with "--liquibase formatted sql": Liquibase would run it as one change, or pass over it, as its configuration says`, "begin it so, or put it elsewhere")
	}
	if at := liquibaseParam.FindStringIndex(text); at != nil {
		return nil, failure(n, text, at[0], "it has a parameter, whose value only Liquibase's configuration has", "write the value out")
	}
	file := n
	logical := liquibaseLogic.FindStringSubmatch(first)
	if logical != nil {
		file = logical[1]
	}
	sets, err := changesets(n, text)
	if err != nil {
		return nil, err
	}
	var scripts []*Script
	for _, c := range sets {
		if c.skip {
			continue
		}
		s, err := parsePair(n, c.up.String(), "", "")
		if err != nil {
			return nil, err
		}
		if len(s.Up) == 0 {
			return nil, failure(n, text, c.at, "the changeset has no statement, and Liquibase stops at it", "give it one")
		}
		if down := c.down.String(); strings.TrimSpace(down) != "" {
			s.withDown(n, down)
		}
		s.unwrap()
		s.NoTransaction = c.outside
		s.vendor, s.title = file+"::"+c.id+"::"+c.author, strings.TrimSuffix(path.Base(file), ".sql")+"_"+c.id
		if err := s.recordAs(liquibaseNote(c, file, logical != nil, names), fmt.Sprintf("DELETE FROM databasechangelog WHERE id = %s AND author = %s AND filename = %[3]s OR id = %[1]s AND author = %[2]s AND right(filename, %[4]d) = %[5]s",
			quoted(c.id), quoted(c.author), quoted(file), len([]rune(file))+1, quoted("/"+file))); err != nil {
			return nil, err
		}
		scripts = append(scripts, s)
	}
	return scripts, nil
}

// liquibaseNote writes a changeset down. Where the folder is, seen from Liquibase, what it has noted of the folder's files says; of a
// logical path, nothing need be known.
func liquibaseNote(c *changeset, file string, logical bool, names []string) string {
	place := "''"
	if !logical {
		var list []string
		for _, n := range names {
			list = append(list, quoted(n))
		}
		place = fmt.Sprintf(`coalesce((SELECT regexp_replace(d.filename, '[^/]*$', '') FROM databasechangelog d WHERE regexp_replace(d.filename, '^.*/', '') IN (%s) ORDER BY d.orderexecuted DESC LIMIT 1), '')`, strings.Join(list, ", "))
	}
	return fmt.Sprintf(`INSERT INTO databasechangelog (id, author, filename, dateexecuted, orderexecuted, exectype, description, comments, liquibase)
		VALUES (%s, %s, %s || %s, now(), (SELECT coalesce(max(orderexecuted), 0) + 1 FROM databasechangelog), 'EXECUTED', 'sql', '', 'tideover')`, quoted(c.id), quoted(c.author), place, quoted(file))
}

// changesets divides a file. What depends on how Liquibase is called, and conditions, are refused.
func changesets(n, text string) ([]*changeset, error) {
	var sets []*changeset
	var into *changeset
	offset, before := 0, ""
	for line := range strings.Lines(text) {
		bare := strings.TrimRight(line, "\r\n")
		up, down := line, blanked(line)
		if m := liquibaseWord.FindStringSubmatch(bare); m != nil {
			switch word := strings.ToLower(m[1]); {
			case word == "changeset":
				c, err := newChangeset(n, text, offset, bare)
				if err != nil {
					return nil, err
				}
				if len(sets) == 0 {
					c.up.WriteString(text[:offset]) // comments
				} else {
					c.up.WriteString(before)
				}
				c.down.WriteString(blanked(before))
				sets, into = append(sets, c), c
			case word == "rollback" && into != nil:
				up = blanked(line)
				if rest := strings.ToLower(strings.TrimSpace(m[2])); rest != "empty" && rest != "not required" && !strings.HasPrefix(rest, "changesetid:") {
					down = strings.Repeat(" ", len(bare)-len(m[2])) + m[2] + line[len(bare):]
				}
			case word == "comment" && into != nil, word == "validchecksum" && into != nil:
			default:
				return nil, failure(n, text, offset, "what it does depends on how Liquibase is called, or on what it finds: "+strings.TrimSpace(bare), "take it out, or use the vendor's own command (command: …)")
			}
		}
		for _, c := range sets {
			if c == into {
				c.up.WriteString(up)
				c.down.WriteString(down)
			}
		}
		if into == nil && strings.TrimSpace(bare) != "" && !strings.HasPrefix(strings.TrimSpace(bare), "--") {
			return nil, failure(n, text, offset, "SQL before the first changeset", "put it below the line that begins the changeset")
		}
		offset += len(line)
		before += blanked(line)
	}
	return sets, nil
}

func newChangeset(n, text string, offset int, line string) (*changeset, error) {
	m := liquibaseSet.FindStringSubmatch(line)
	if m == nil {
		return nil, failure(n, text, offset, "Liquibase stops at this line", "--changeset author:id")
	}
	c := &changeset{author: strings.Trim(m[1], `"`), id: strings.Trim(m[2], `"`), at: offset}
	for _, o := range liquibaseOption.FindAllStringSubmatch(m[3], -1) {
		word, value := strings.ToLower(o[1]), strings.ToLower(strings.Trim(o[2], `"`))
		switch {
		case slices.Contains([]string{"splitstatements", "stripcomments", "rollbacksplitstatements", "rollbackenddelimiter"}, word):
		case (word == "runonchange" || word == "runalways" || word == "ignore") && value == "false", word == "failonerror" && value == "true":
		case word == "enddelimiter" && value == ";":
		case word == "runintransaction" && (value == "true" || value == "false"):
			c.outside = value == "false"
		case word == "dbms" && !strings.Contains(value, "!"):
			c.skip = !slices.Contains(strings.Split(strings.ReplaceAll(value, " ", ""), ","), "postgresql") && value != "all"
		default:
			return nil, failure(n, text, offset, o[0]+": what becomes of the changeset depends on how Liquibase is called, or on what has run", "take it out, or use the vendor's own command (command: …)")
		}
	}
	return c, nil
}

// liquibaseInPlace goes by id, author and path, of which the table may have more in front. A changeset that comes late runs.
func liquibaseInPlace(rows [][]string, scripts []*Script) ([]*Script, error) {
	has := map[*Script]bool{}
	for _, row := range rows {
		file := strings.TrimPrefix(row[2], "classpath:")
		for _, s := range scripts {
			own, rest, _ := strings.Cut(s.vendor, "::")
			if rest != row[0]+"::"+row[1] || file != own && !strings.HasSuffix(file, "/"+own) {
				continue
			}
			if row[3] != "EXECUTED" && row[3] != "RERAN" && row[3] != "MARK_RAN" {
				return nil, halfDone("databasechangelog", s.vendor, "exectype is "+row[3])
			}
			has[s] = true
		}
	}
	var done []*Script
	for _, s := range scripts {
		if has[s] {
			done = append(done, s)
		}
	}
	return done, nil
}
