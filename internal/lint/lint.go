// Package lint writes what sqlrewrite finds in migrations as text, JSON, SARIF or GitHub's workflow commands.
package lint

import (
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/tideover/tideover/sqlrewrite"
)

// Report is the findings of a folder.
type Report struct {
	Dir      string // goes before file names
	Scripts  []*sqlrewrite.Script
	Findings []sqlrewrite.Finding
	Allowed  []string // hazards that a person accepts
}

// New lints a folder.
func New(dir string, source *sqlrewrite.Migrations, allowed []string) (*Report, error) {
	findings, err := sqlrewrite.Lint(source.Scripts, allowed)
	if err != nil {
		return nil, err
	}
	return &Report{Dir: dir, Scripts: source.Scripts, Findings: findings, Allowed: allowed}, nil
}

// Refused counts the findings that neither rewriting takes away nor a person allows.
func (r *Report) Refused() int {
	n := 0
	for _, f := range r.Findings {
		if r.level(f) == "error" {
			n++
		}
	}
	return n
}

func (r *Report) level(f sqlrewrite.Finding) string {
	switch {
	case f.Note:
		return "note"
	case f.Fixed, slices.Contains(r.Allowed, f.Rule):
		return "warning"
	}
	return "error"
}

// Formats are the words for Write.
func Formats() []string { return []string{"text", "json", "sarif", "github"} }

// Write writes the report in a format.
func (r *Report) Write(w io.Writer, format string) error {
	switch format {
	case "text":
		return r.text(w)
	case "json":
		return r.json(w)
	case "sarif":
		return r.sarif(w)
	case "github":
		return r.github(w)
	}
	return fmt.Errorf("there is no format %q; one of %s", format, strings.Join(Formats(), ", "))
}

func (r *Report) text(w io.Writer) error {
	fixed := 0
	for _, f := range r.Findings {
		end := ""
		switch {
		case f.Fixed:
			fixed++
			end = " [rewritten]"
		case f.Note:
		case slices.Contains(r.Allowed, f.Rule):
			end = " [allowed]"
		}
		if _, err := fmt.Fprintf(w, "%s:%d:%d: %s: %s%s\n", path.Join(r.Dir, f.File), f.Line, f.Column, f.Rule, f.Text, end); err != nil {
			return err
		}
		if f.Hint != "" && !f.Fixed {
			fmt.Fprintf(w, "    %s\n", f.Hint)
		}
	}
	statements := 0
	for _, s := range r.Scripts {
		statements += len(s.Up)
	}
	_, err := fmt.Fprintf(w, "%d files, %d statements: %d findings are taken away by tideover sql rewrite, %d must be allowed\n", len(r.Scripts), statements, fixed, r.Refused())
	return err
}

// statement is what JSON says of each statement.
type statement struct {
	File         string              `json:"file"`
	Line         int                 `json:"line"`
	Column       int                 `json:"column"`
	SQL          string              `json:"sql"`
	Lock         string              `json:"lock"`
	BlocksReads  bool                `json:"blocks_reads"`
	BlocksWrites bool                `json:"blocks_writes"`
	Scan         bool                `json:"scan"`
	Rewrite      bool                `json:"rewrite"`
	Reason       string              `json:"reason"`
	Manual       string              `json:"manual"`
	Objects      []map[string]string `json:"objects"`
}

type finding struct {
	Level   string `json:"level"` // "error": must be allowed; "warning": rewritten or allowed; "note"
	Rule    string `json:"rule"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Text    string `json:"text"`
	Hint    string `json:"hint,omitempty"`
	Fixed   bool   `json:"rewritten"`
	Allowed bool   `json:"allowed"`
}

func (r *Report) json(w io.Writer) error {
	out := struct {
		Statements []statement `json:"statements"`
		Findings   []finding   `json:"findings"`
	}{[]statement{}, []finding{}}
	for _, s := range r.Scripts {
		for _, st := range s.Up {
			a := sqlrewrite.Analyze(st)
			js := statement{File: st.File, Line: st.Line, Column: st.Column, SQL: st.SQL, Lock: a.Lock.String(), BlocksReads: a.BlocksReads, BlocksWrites: a.BlocksWrites,
				Scan: a.Scan, Rewrite: a.Rewrite, Reason: a.Reason, Manual: a.Manual, Objects: []map[string]string{}}
			for _, o := range a.Objects {
				js.Objects = append(js.Objects, map[string]string{"schema": o.Schema, "name": o.Name, "kind": o.Kind, "lock": o.Lock.String()})
			}
			out.Statements = append(out.Statements, js)
		}
	}
	for _, f := range r.Findings {
		out.Findings = append(out.Findings, finding{Level: r.level(f), Rule: f.Rule, File: f.File, Line: f.Line, Column: f.Column, Text: f.Text, Hint: f.Hint,
			Fixed: f.Fixed, Allowed: slices.Contains(r.Allowed, f.Rule)})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

// github is a workflow command for each finding. Source: GitHub's "Workflow commands for GitHub Actions".
func (r *Report) github(w io.Writer) error {
	value := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, f := range r.Findings {
		level := r.level(f)
		if level == "note" {
			level = "notice"
		}
		if _, err := fmt.Fprintf(w, "::%s file=%s,line=%d,col=%d,title=%s::%s\n", level, property.Replace(path.Join(r.Dir, f.File)), f.Line, f.Column,
			property.Replace(f.Rule), value.Replace(message(f))); err != nil {
			return err
		}
	}
	return nil
}

func message(f sqlrewrite.Finding) string {
	s := f.Text
	switch {
	case f.Fixed:
		s += "; tideover sql rewrite takes it away"
	case f.Hint != "":
		s += "; " + f.Hint
	}
	return s
}
