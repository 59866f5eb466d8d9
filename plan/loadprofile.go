package plan

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// builtin has the profiles that come with the program, one file each.
//
//go:embed profiles/*.yaml
var builtin embed.FS

// Profiles lists the names of the built-in profiles.
func Profiles() []string {
	entries, err := builtin.ReadDir("profiles")
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// BuiltinProfile is the text of a built-in profile. The error is an *Error where there is none of this name.
func BuiltinProfile(name string) ([]byte, error) {
	if !slices.Contains(Profiles(), name) {
		return nil, &Error{
			File: name, Msg: "there is no built-in profile of this name",
			Way: suggest(name, Profiles()) + "; a file is named with its ending, such as ./" + name + ".yaml",
		}
	}
	return builtin.ReadFile(path.Join("profiles", name+".yaml"))
}

// LoadProfile reads a profile: a built-in one by its name, else a file, whose path is relative to dir (the runbook's
// folder). The error is an Errors with every mistake of the file, or an *Error if it can't be read.
func LoadProfile(nameOrPath, dir string) (*Profile, error) {
	if slices.Contains(Profiles(), nameOrPath) || !strings.ContainsAny(nameOrPath, `/\.`) {
		data, err := BuiltinProfile(nameOrPath)
		if err != nil {
			return nil, err
		}
		return ParseProfile(nameOrPath+".yaml", data)
	}
	file := nameOrPath
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	data, err := read(file, "a profile's path is relative to the runbook; built in are "+strings.Join(Profiles(), ", "))
	if err != nil {
		return nil, err
	}
	p, err := ParseProfile(file, data)
	if err != nil {
		return nil, err
	}
	p.Path = file
	return p, nil
}

// ParseProfile is LoadProfile for bytes; name stands for the file in errors. Environment variables are not filled in: a
// profile has no secrets, and a dollar sign is SQL.
func ParseProfile(name string, data []byte) (*Profile, error) {
	root, err := document(name, data)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	p := &Profile{Hash: hex.EncodeToString(sum[:])}
	d := newDecoder(name, nil)
	if !d.root(root, reflect.ValueOf(p).Elem(), "a profile begins with `name:`") {
		return nil, d.errs
	}
	d.checkSchemas(p)
	d.checkTables(p)
	d.checkRevocations(p)
	d.checkGreen(p.Green)
	d.checkCarryBack(p)
	d.checkRules(p)
	d.checkHTTP("http.public", p.HTTP.Public)
	d.checkHTTP("http.admin", p.HTTP.Admin)
	d.checkPath("http.health", p.HTTP.Health)
	d.checkPath("http.refresh_path", p.HTTP.RefreshPath)
	d.checkPath("http.introspect_path", p.HTTP.IntrospectPath)
	for i, a := range p.HTTP.Answers {
		at := item("http.answers", i)
		d.checkPath(join(at, "path"), a.Path)
		if a.Planted() && len(p.HTTP.Plant) == 0 {
			d.add(at, "say in `http.plant:` what is put there", "{word} stands for what was planted, and nothing is")
		}
		if strings.Contains(a.Path, "{}") != (a.SQL != "") {
			d.add(join(at, "path"), "with `sql:` the path has {}, and without it none", "{} in the path stands for a value of sql")
		}
		if a.Status < 100 || a.Status > 599 {
			d.add(join(at, "status"), "such as 200", "%d is no status", a.Status)
		}
	}
	if (len(p.HTTP.Plant) == 0) != (len(p.HTTP.Uproot) == 0) {
		d.add("http", "plant and uproot come together", "what is planted has to be taken away")
	}
	if err := d.errs.orNil(); err != nil {
		return nil, err
	}
	said := *p
	said.Hash = ""
	p.Content, p.Kept = contentOf(said), Kept{Text: string(data)}
	p.at = func(field, msg, way string) *Error {
		found := &decoder{file: name, places: d.places}
		found.add(field, way, "%s", msg)
		return found.errs[0]
	}
	return p, nil
}

// Table is the captured table of that name, or nil.
func (p *Profile) Table(name string) *Table {
	for i := range p.Tables {
		if p.Tables[i].Name == name {
			return &p.Tables[i]
		}
	}
	return nil
}

// Captured says whether changes of the table are recorded.
func (t *Table) Captured() bool { return t.Capture == nil || *t.Capture }
