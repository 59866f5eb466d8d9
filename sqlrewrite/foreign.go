package sqlrewrite

import (
	"path"
	"regexp"
	"strings"
)

// strange is a sign that a file was written for another tool.
type strange struct {
	at        int
	text, way string
}

var signs = []struct {
	sign      *regexp.Regexp
	text, way string
}{
	{regexp.MustCompile(`(?m)^\s*--\s*migrate:(up|down)\b`), "it is dbmate's", "say format: dbmate"},
	{regexp.MustCompile(`(?m)^\s*--\s*\+migrate\s+\w+`), "it is sql-migrate's", "say format: sql-migrate"},
	{regexp.MustCompile(`(?mi)^\s*--\s*liquibase\s+formatted\s+sql|^\s*--\s*changeset\s+\S+:\S+`), "it is Liquibase's", "say format: liquibase, or use the vendor's own command (command: …)"},
	{regexp.MustCompile(`(?m)^----\s*create above\s*/\s*drop below\s*----`), "it is tern's: what stands below that line takes the migration back", "say format: tern"},
	{regexp.MustCompile(`(?m)^\s*--\s*//@?UNDO|^\s*--\s*@UNDO|^\s*//\s*@UNDO`), "it is MyBatis Migrations' or dbdeploy's: what stands below that line takes the migration back", "keep what stands above it, or use the vendor's own command (command: …)"},
	{regexp.MustCompile(`(?mi)^\s*(--|#)\s*-*\s*!(ups|downs)\b`), "it is Play's evolutions'", "keep the part that is to be run"},
	{regexp.MustCompile(`(?mi)^\s*--[-\s/+@!#:*=<>\[]*((migrate|migration|sql|rambler|micrate|section)[\s:_-]*)?(down|downs|undo|rollback|roll back|revert|reverse)([\s:_-]*(migration|section|sql|script|part|below|here))*[-\s:*=<>\].!]*$`),
		"this line looks as if what takes the migration back stood below it", "put that into a file of its own, <name>.down.sql, or name the tool's format"},
	{regexp.MustCompile(`\$\{[\w.:-]+\}`), "it has a placeholder, whose value only its tool knows", "write the value out"},
	{regexp.MustCompile(`\{\{-?\s*(\.|\$|template\b|if\b|end\b|range\b|with\b|include\b|env\b|block\b|define\b)|<%[=-]?|\{%-?\s*\w+`), "it is a template: what the SQL says is known only to its tool", "write out what the template becomes"},
}

// foreign finds what says that a file is no plain SQL; nil: nothing does.
func foreign(text string) *strange {
	for _, s := range signs {
		if at := s.sign.FindStringIndex(text); at != nil {
			from := at[0] + len(text[at[0]:at[1]]) - len(strings.TrimLeft(text[at[0]:at[1]], " \t\r\n"))
			return &strange{from, s.text, s.way}
		}
	}
	return nil
}

var (
	backName   = regexp.MustCompile(`(?i)([._-](down|undo|rollback|revert|rev)|^(U\d[\w.]*__.*))\.sql$`)
	repeatable = regexp.MustCompile(`^R__.*\.sql$`)
	codeName   = regexp.MustCompile(`^[VvUR]?\d[\w.-]*\.(go|js|cjs|mjs|ts|py|rb|php|java|kt|xml|ya?ml|json|exs?)$|^(db\.)?changelog.*\.(xml|ya?ml|json)$|^sqitch\.plan$|^atlas\.sum$|^migration_lock\.toml$`)
)

// strangers refuses a folder of plain files in which something else is that its tool would run, or heed.
func (t *tree) strangers() error {
	for _, n := range t.others {
		if codeName.MatchString(path.Base(n)) {
			return &Error{File: n, Msg: "it is a migration in another language than SQL, or a list that only its tool understands", Try: "use the vendor's own command (command: …)"}
		}
	}
	if len(t.below) > 0 {
		return &Error{File: t.below[0], Msg: "there are .sql files in a folder below, which plain files don't have", Try: "name the folder whose own files are to be run"}
	}
	for _, n := range sorted(t.files) {
		switch {
		case strings.HasSuffix(n, ".down.sql"):
		case backName.MatchString(n):
			return &Error{File: n, Msg: "its name says that it takes a migration back", Try: "put it into another folder, or name it <name>.down.sql"}
		case repeatable.MatchString(n):
			return &Error{File: n, Msg: "it is one of Flyway's that run again whenever they change", Try: "say format: flyway"}
		}
		if why := foreign(t.files[n]); why != nil {
			return failure(n, t.files[n], why.at, why.text, why.way)
		}
	}
	return nil
}
