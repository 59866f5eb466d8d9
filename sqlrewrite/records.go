package sqlrewrite

import (
	"fmt"
	"slices"
)

// Records is the table in which a vendor's own tool keeps the versions that are in place. A migration writes its own there, last.
type Records struct {
	Table  string // found by search_path
	Create string // makes it as the tool does, where it isn't there; "": the first migration does
	Read   string // a query of its rows, each an array of text, for [Migrations.InPlace]
	Newest bool   // it has the newest version alone
	Fresh  bool   // without it the tool refuses a database that has tables
	// inPlace says which scripts a database has by the rows, those among them that the tool will never run, too. Its error is an [*Error]:
	// the tool would refuse the database, or what it has can't be told.
	inPlace  func(rows [][]string, scripts []*Script) ([]*Script, error)
	up, down string // with the version as a literal: note it, and forget it
}

// Records is the table of the vendor's own tool; nil: the format has none, and goose's is used.
func (s *Migrations) Records() *Records {
	if s == nil {
		return nil
	}
	return s.layout.records
}

// InPlace says which scripts a database has, by the rows of [Records.Read]; those too that the tool will never run.
func (s *Migrations) InPlace(rows [][]string) ([]*Script, error) {
	return s.layout.records.inPlace(rows, s.Scripts)
}

// record lets the migration write its version into the vendor's table, last up and last down: statements with the version as a literal.
func (s *Script) record(up, down string) error {
	return s.recordAs(withVersion(up, s.vendor), withVersion(down, s.vendor))
}

func withVersion(sql, version string) string {
	if sql == "" {
		return ""
	}
	return fmt.Sprintf(sql, quoted(version))
}

// recordAs is record with statements that are complete.
func (s *Script) recordAs(up, down string) error {
	s.note = up
	for _, x := range []struct {
		into *[]*Statement
		sql  string
	}{{&s.Up, up}, {&s.Down, down}} {
		if x.into == &s.Down && len(s.Down) == 0 || x.sql == "" {
			continue
		}
		list, err := statements(s.Name, x.sql)
		if err != nil {
			return err
		}
		for _, st := range list {
			st.records = true
		}
		*x.into = append(*x.into, list...)
	}
	setScopes(s.Up)
	setScopes(s.Down)
	return nil
}

// noted are the scripts whose versions the rows begin with. What no script has is another branch's, or gone, and counts for nothing.
func noted(rows [][]string, scripts []*Script) ([]*Script, error) {
	var list []*Script
	for _, s := range scripts {
		if s.vendor != "" && slices.ContainsFunc(rows, func(row []string) bool { return row[0] == s.vendor }) {
			list = append(list, s)
		}
	}
	return list, nil
}

// upTo are the scripts up to the one version that the table has.
func upTo(table string, rows [][]string, scripts []*Script) ([]*Script, error) {
	newest := 0
	for _, row := range rows {
		i := slices.IndexFunc(scripts, func(s *Script) bool { return s.vendor == row[0] })
		if i < 0 {
			return nil, &Error{File: table, Msg: "it has version " + row[0] + ", which is no file's", Try: "put the file back: which ones the database has can't be told without it"}
		}
		newest = max(newest, i+1)
	}
	return scripts[:newest], nil
}

// halfDone is the error of a database whose tool has noted that something went wrong.
func halfDone(table, what, how string) error {
	return &Error{File: table, Msg: fmt.Sprintf("it says that %s was left half done (%s)", what, how), Try: "put the schema right and the row with it, as the tool's manual says, then begin again"}
}
