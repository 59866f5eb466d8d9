package sqlrewrite

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// Format is how a folder of migrations is named and annotated.
type Format string

// Formats lists them for a message.
func Formats() []string {
	var names []string
	for _, l := range layouts() {
		names = append(names, string(l.name))
	}
	return names
}

// Migrations is a folder of migrations, in the order in which they run.
type Migrations struct {
	Format  Format
	Scripts []*Script

	layout *layout
}

// ReadFolder reads the migrations in fsys's top folder; format "" finds out which they are. The error of a file that
// can't be read as Postgres' SQL is an [*Error].
func ReadFolder(fsys fs.FS, format Format) (*Migrations, error) {
	return Source{Format: format}.Folder(fsys)
}

// Source says how migrations are read.
type Source struct {
	Format       Format            // "": found out
	Placeholders map[string]string // the values of Flyway's ${name}
}

// Folder is [ReadFolder].
func (r Source) Folder(fsys fs.FS) (*Migrations, error) {
	format := r.Format
	t, err := readTree(fsys)
	if err != nil {
		return nil, err
	}
	t.placeholders = r.Placeholders
	l := layoutOf(format)
	switch {
	case l == nil && format != "":
		return nil, fmt.Errorf("there is no format %q; one of %s", format, strings.Join(Formats(), ", "))
	case l == nil:
		if l, err = t.layout(); err != nil {
			return nil, err
		}
	}
	if len(t.files) == 0 && !l.below {
		return nil, t.empty()
	}
	if len(r.Placeholders) > 0 && l.name != FlywayFormat {
		return nil, &Error{File: ".", Msg: fmt.Sprintf("placeholders are Flyway's, and the folder is read as %s's: nothing would be put in", l.name), Try: "leave them out, or say format: flyway"}
	}
	s := &Migrations{Format: l.name, layout: l}
	if s.Scripts, err = l.read(t); err != nil {
		return nil, err
	}
	learn(s.Scripts)
	return s, nil
}

// Summary says what was read, for people: "dbmate: 41 up, 40 down".
func (s *Migrations) Summary() string {
	up, down, broken := 0, 0, ""
	for _, script := range s.Scripts {
		if script.keep {
			continue
		}
		up++
		if len(script.Down) > 0 {
			down++
		}
		if script.brokenDown != nil && broken == "" {
			broken = fmt.Sprintf("; no way back of %s, which can't be read: %v", script.Name, script.brokenDown)
		}
	}
	return fmt.Sprintf("%s: %d up, %d down%s", s.Format, up, down, broken)
}

// Detect finds the format of a folder out by what can't be mistaken: annotations, names and files that one tool alone has. "": it is
// goose's, or plain. A folder that may be of two tools is an [*Error].
func Detect(fsys fs.FS) (Format, error) {
	t, err := readTree(fsys)
	if err != nil {
		return "", nil //nolint:nilerr // whoever reads it says so
	}
	l, err := t.layout()
	if err != nil || l.name == PlainFormat {
		return "", err
	}
	return l.name, nil
}

func versionOf(s *Script) int64 { return version(s.Target()) }

// Find is the script of a version: the vendor's own, or goose's number; nil: there is none.
func (s *Migrations) Find(version string) *Script {
	for _, script := range s.Scripts {
		if script.vendor == version && version != "" {
			return script
		}
	}
	short := strings.TrimLeft(version, "0")
	for _, script := range s.Scripts {
		v := versionOf(script)
		if short != "" && strings.TrimLeft(script.vendor, "0") == short {
			return script
		}
		if !s.layout.places && v > 0 && strconv.FormatInt(v, 10) == short {
			return script
		}
	}
	return nil
}

// Places: the numbers of the goose files are only the scripts' places among each other, which another file changes.
func (s *Migrations) Places() bool { return s != nil && s.layout.places }

// OnlyRead says why the migrations can't be run here, though they can be looked at; "": they can.
func (s *Migrations) OnlyRead() string { return s.layout.onlyRead }

// Above is the scripts behind a version: goose's number, or the vendor's own; "" is all. The version must be one of them.
func (s *Migrations) Above(from string) ([]*Script, error) {
	if from == "" {
		return s.Scripts, nil
	}
	script := s.Find(from)
	if script == nil {
		return nil, fmt.Errorf("no migration has version %s", from)
	}
	return s.Scripts[slices.Index(s.Scripts, script)+1:], nil
}
