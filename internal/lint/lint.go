// Package lint reads the migrations that a person or a CI job names, and writes what sqlrewrite finds in them: as text, JSON, SARIF, JUnit's XML,
// or what GitHub and GitLab show beside the lines of a change.
package lint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/tideover/tideover/sqlrewrite"
)

// Report is the findings of the scripts that were judged.
type Report struct {
	Folders  []Folder
	Findings []sqlrewrite.Finding // File is the path, its folder's included
}

// New lints the scripts of folders. allowed are names of findings that a person accepts.
func New(folders []Folder, allowed []string) (*Report, error) {
	r := &Report{Folders: folders}
	had := map[string]int{}
	for _, folder := range folders {
		findings, err := sqlrewrite.Lint(folder.Judged, allowed)
		if err != nil {
			return nil, folder.placed(err)
		}
		for _, f := range findings {
			f.File = folder.path(f.File)
			if had[f.ID]++; had[f.ID] > 1 { // the same statement, in a file of the same name in another folder
				f.ID = fmt.Sprintf("%s-%d", f.ID, had[f.ID])
			}
			r.Findings = append(r.Findings, f)
		}
	}
	return r, nil
}

// placed gives an error about a file of the folder the file's path.
func (f Folder) placed(err error) error {
	if e := new(sqlrewrite.Error); errors.As(err, &e) {
		e.File = f.path(e.File)
	}
	return err
}

func (f Folder) path(file string) string {
	if f.Dir == "" {
		return file
	}
	return path.Join(f.Dir, file)
}

// Refused counts the findings that neither rewriting takes away nor a person allows.
func (r *Report) Refused() int { return r.count("error") }

func (r *Report) count(l string) int {
	n := 0
	for _, f := range r.Findings {
		if level(f) == l {
			n++
		}
	}
	return n
}

// level is "error" for what must be allowed, "warning" for what is rewritten or allowed, or "note".
func level(f sqlrewrite.Finding) string {
	switch {
	case f.Note:
		return "note"
	case f.Fixed, f.Allowed:
		return "warning"
	}
	return "error"
}

// Unused are those of the names for which there is no finding.
func (r *Report) Unused(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool {
		return slices.ContainsFunc(r.Findings, func(f sqlrewrite.Finding) bool { return f.Rule == n })
	})
}

var writers = []struct {
	format string
	write  func(*Report, io.Writer) error
}{{"text", (*Report).text}, {"json", (*Report).json}, {"sarif", (*Report).sarif}, {"github", (*Report).github}, {"gitlab", (*Report).gitlab}, {"junit", (*Report).junit}}

// Formats are the words for Write.
func Formats() []string {
	var names []string
	for _, w := range writers {
		names = append(names, w.format)
	}
	return names
}

// Write writes the report in a format.
func (r *Report) Write(w io.Writer, format string) error {
	for _, x := range writers {
		if x.format == format {
			return x.write(r, w)
		}
	}
	return fmt.Errorf("there is no format %q; one of %s", format, strings.Join(Formats(), ", "))
}

func (r *Report) text(w io.Writer) error {
	fixed := 0
	for _, f := range r.Findings {
		end := ""
		switch {
		case f.Allowed && f.Reason != "":
			end = " [allowed: " + f.Reason + "]"
		case f.Allowed:
			end = " [allowed]"
		case f.Fixed:
			end = " [rewritten]"
		}
		if f.Fixed {
			fixed++
		}
		if _, err := fmt.Fprintf(w, "%s:%d:%d: %s: %s%s\n", f.File, f.Line, f.Column, f.Rule, f.Text, end); err != nil {
			return err
		}
		if f.Hint != "" && !f.Fixed && !f.Allowed {
			fmt.Fprintf(w, "    %s\n", f.Hint)
		}
	}
	files, statements := 0, 0
	for _, s := range r.scripts() {
		files++
		statements += len(s.Up)
	}
	_, err := fmt.Fprintf(w, "%d files, %d statements: %d findings are taken away by tideover sql rewrite, %d must be allowed\n", files, statements, fixed, r.Refused())
	return err
}

func (r *Report) scripts() []*sqlrewrite.Script {
	var list []*sqlrewrite.Script
	for _, f := range r.Folders {
		list = append(list, f.Judged...)
	}
	return list
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
	ID      string `json:"id"`    // stays when the statement moves within its file
	Level   string `json:"level"` // "error": must be allowed; "warning": rewritten or allowed; "note"
	Rule    string `json:"rule"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Text    string `json:"text"`
	Hint    string `json:"hint,omitempty"`
	Fixed   bool   `json:"rewritten"`
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason,omitempty"` // of a comment that allows it
}

func (r *Report) json(w io.Writer) error {
	out := struct {
		Statements []statement `json:"statements"`
		Findings   []finding   `json:"findings"`
	}{[]statement{}, []finding{}}
	for _, folder := range r.Folders {
		for _, s := range folder.Judged {
			for _, st := range s.Up {
				a := sqlrewrite.Analyze(st)
				js := statement{File: folder.path(st.File), Line: st.Line, Column: st.Column, SQL: st.SQL, Lock: a.Lock.String(), BlocksReads: a.BlocksReads, BlocksWrites: a.BlocksWrites,
					Scan: a.Scan, Rewrite: a.Rewrite, Reason: a.Reason, Manual: a.Manual, Objects: []map[string]string{}}
				for _, o := range a.Objects {
					js.Objects = append(js.Objects, map[string]string{"schema": o.Schema, "name": o.Name, "kind": o.Kind, "lock": o.Lock.String()})
				}
				out.Statements = append(out.Statements, js)
			}
		}
	}
	for _, f := range r.Findings {
		out.Findings = append(out.Findings, finding{ID: f.ID, Level: level(f), Rule: f.Rule, File: f.File, Line: f.Line, Column: f.Column, Text: f.Text, Hint: f.Hint,
			Fixed: f.Fixed, Allowed: f.Allowed, Reason: f.Reason})
	}
	return encode(w, out)
}

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
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
