package sqlrewrite

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// SqitchFormat is sqitch.plan, with deploy/ and revert/.
const SqitchFormat Format = "sqitch"

const sqitchPlan = "sqitch.plan"

// Source: sqitch's manual, sqitchplan; App::Sqitch::Plan and App::Sqitch::Plan::Change. What it notes of a change in its registry (hashes of who
// planned it, dependencies, tags) isn't written here: a run is refused.
func sqitchLayout() *layout {
	return &layout{name: SqitchFormat, claims: func(t *tree) string {
		if slices.Contains(t.others, sqitchPlan) {
			return sqitchPlan
		}
		return ""
	}, below: true, read: sqitchFolder, places: true,
		onlyRead: "what sqitch notes of a change isn't written here, so that it would deploy everything again"}
}

var (
	sqitchLine = regexp.MustCompile(`^\s*([+-]?)\s*([^\s@:#%+-][^\s@:#]*|@[^\s@:#]+)(\s.*)?$`)
	sqitchRest = regexp.MustCompile(`^\s*(\[[^\]]*\]\s*)?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\s.*<[^<>]*>\s*(#.*)?$`)
)

// sqitchFolder reads the changes in the plan's order. One that is planned again later has its first script under the tag behind it.
func sqitchFolder(t *tree) ([]*Script, error) {
	if !slices.Contains(t.others, sqitchPlan) {
		return nil, &Error{File: sqitchPlan, Msg: "it isn't there, and it has the order", Try: "name the folder that has sqitch.plan"}
	}
	_, text, err := t.read(sqitchPlan)
	if err != nil {
		return nil, err
	}
	type change struct {
		name, tag string // the first tag behind it
		line      int
	}
	var changes []*change
	offset, number := 0, 0
	for line := range strings.Lines(text) {
		number++
		bare := strings.TrimSpace(line)
		at := offset
		offset += len(line)
		if bare == "" || strings.HasPrefix(bare, "#") || strings.HasPrefix(bare, "%") {
			continue
		}
		m := sqitchLine.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		if m == nil || !sqitchRest.MatchString(m[3]) {
			return nil, failure(sqitchPlan, text, at, "sqitch's line isn't understood", "<name> [<names>] <time> <person> <<address>> # <note>")
		}
		switch {
		case m[1] == "-":
			return nil, failure(sqitchPlan, text, at, "the plan takes a change back", "take both lines out, or use the vendor's own command (command: …)")
		case strings.HasPrefix(m[2], "@"):
			for _, c := range changes {
				if c.tag == "" {
					c.tag = m[2]
				}
			}
		default:
			changes = append(changes, &change{name: m[2], line: number})
		}
	}
	var scripts []*Script
	for i, c := range changes {
		file := c.name
		if slices.ContainsFunc(changes[i+1:], func(later *change) bool { return later.name == c.name }) {
			if c.tag == "" {
				return nil, &Error{File: sqitchPlan, Line: c.line, Column: 1, Msg: c.name + " is planned again without a tag in between, and sqitch stops there", Try: "sqitch tag, then sqitch rework"}
			}
			file += c.tag
		}
		n := "deploy/" + file + ".sql"
		_, up, err := t.read(n)
		if err != nil {
			return nil, refused(n, fmt.Sprintf("%s has it in line %d, and it isn't there", sqitchPlan, c.line), "put the file back")
		}
		s, err := parsePair(n, up, "", "")
		if err != nil {
			return nil, err
		}
		if _, down, err := t.read("revert/" + file + ".sql"); err == nil {
			s.withDown("revert/"+file+".sql", down)
		}
		had := len(s.Up)
		s.unwrap()
		s.NoTransaction = len(s.Up) == had && had > 0 // psql runs each statement by itself
		s.vendor = file
		scripts = append(scripts, s)
	}
	if len(scripts) == 0 {
		return nil, &Error{File: sqitchPlan, Msg: "it plans no change", Try: "sqitch add"}
	}
	byPlace(scripts, func(s *Script) string { return s.vendor })
	return scripts, nil
}
