package lint

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/tideover/tideover/sqlrewrite"
)

// told are the findings for whoever reviews a change: what somebody has accepted is not said again.
func (r *Report) told() []sqlrewrite.Finding {
	var list []sqlrewrite.Finding
	for _, f := range r.Findings {
		if !f.Allowed {
			list = append(list, f)
		}
	}
	return list
}

// github is a workflow command for each finding. Source: GitHub's "Workflow commands for GitHub Actions".
func (r *Report) github(w io.Writer) error {
	value := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, f := range r.told() {
		l := level(f)
		if l == "note" {
			l = "notice"
		}
		if _, err := fmt.Fprintf(w, "::%s file=%s,line=%d,col=%d,title=%s::%s\n", l, property.Replace(f.File), f.Line, f.Column,
			property.Replace(f.Rule), value.Replace(message(f))); err != nil {
			return err
		}
	}
	return nil
}

// quality is one of GitLab's. Source: GitLab's "Code Quality", "Code Quality report format".
type quality struct {
	Description string          `json:"description"`
	Check       string          `json:"check_name"`
	Fingerprint string          `json:"fingerprint"`
	Severity    string          `json:"severity"` // info, minor, major, critical or blocker
	Location    qualityLocation `json:"location"`
}

type qualityLocation struct {
	Path  string `json:"path"`
	Lines struct {
		Begin int `json:"begin"`
	} `json:"lines"`
}

// gitlab is a report of code quality: what must be allowed is critical.
func (r *Report) gitlab(w io.Writer) error {
	out := []quality{}
	for _, f := range r.told() {
		q := quality{Description: message(f), Check: f.Rule, Fingerprint: f.ID, Severity: map[string]string{"error": "critical", "warning": "minor", "note": "info"}[level(f)]}
		q.Location.Path, q.Location.Lines.Begin = strings.TrimPrefix(f.File, "./"), max(f.Line, 1)
		out = append(out, q)
	}
	return encode(w, out)
}

type junitSuites struct {
	XMLName  xml.Name   `xml:"testsuites"`
	Name     string     `xml:"name,attr"`
	Tests    int        `xml:"tests,attr"`
	Failures int        `xml:"failures,attr"`
	Suites   junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	File    string        `xml:"file,attr"`
	Line    int           `xml:"line,attr,omitempty"`
	Failure *junitFailure `xml:"failure"`
	Out     string        `xml:"system-out,omitempty"`
}

type junitFailure struct {
	Type    string `xml:"type,attr"`
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// junit is a failed test for each finding that must be allowed, and a passed one, with what else was found, for each file without any. There is
// no standard; this is what Jenkins and GitLab read of the XML that Ant's JUnit task writes.
func (r *Report) junit(w io.Writer) error {
	suite := junitSuite{Name: "tideover sql lint"}
	for _, folder := range r.Folders {
		for _, s := range folder.Judged {
			file, passed, had := folder.path(s.Name), junitCase{}, suite.Failures
			var out strings.Builder
			for _, f := range r.told() {
				switch {
				case f.File != file:
				case level(f) == "error":
					suite.Failures++
					suite.Cases = append(suite.Cases, junitCase{Name: fmt.Sprintf("%s:%d:%d %s", file, f.Line, f.Column, f.Rule), Class: file, File: file, Line: f.Line,
						Failure: &junitFailure{Type: f.Rule, Message: f.Text, Text: fmt.Sprintf("%s:%d:%d: %s: %s", file, f.Line, f.Column, f.Rule, message(f))}})
				default:
					fmt.Fprintf(&out, "%d:%d: %s: %s\n", f.Line, f.Column, f.Rule, message(f))
				}
			}
			if suite.Failures == had || out.Len() > 0 {
				passed.Name, passed.Class, passed.File, passed.Out = file, file, file, out.String()
				suite.Cases = append(suite.Cases, passed)
			}
		}
	}
	suite.Tests = len(suite.Cases)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(junitSuites{Name: suite.Name, Tests: suite.Tests, Failures: suite.Failures, Suites: suite}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
