package lint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/tideover/tideover/sqlrewrite"
)

// Folder is a folder of migrations, and what of it is judged. The other files are read for what they make.
type Folder struct {
	Dir    string // goes before the names of its files; "": they are whole
	Judged []*sqlrewrite.Script
}

// Options say what is to be linted.
type Options struct {
	Paths     []string // folders, files, and "-" for Stdin
	Stdin     io.Reader
	StdinName string
	Source    sqlrewrite.Source
	From      string       // only files above this version are judged
	Since     string       // only files that have changed since this revision of git's are
	Say       func(string) // what was read as what
}

// Read reads what is to be linted. A file is read among those of its folder, where that can be read.
func Read(ctx context.Context, o Options) ([]Folder, error) {
	if slices.Contains(o.Paths, "-") && (o.From != "" || o.Since != "") {
		return nil, errors.New("standard input has no version and no history: leave --from and --changed-since out, or name files")
	}
	var folders []Folder
	named := map[string][]string{}
	var roots []string
	for _, p := range o.Paths {
		if p == "-" {
			f, err := o.stdin()
			if err != nil {
				return nil, err
			}
			folders = append(folders, f)
			continue
		}
		info, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("%s is not a folder or file that can be read", p)
		}
		root, file := filepath.Clean(p), ""
		if !info.IsDir() {
			root, file = rootOf(p)
		}
		if _, had := named[root]; !had {
			roots = append(roots, root)
		}
		named[root] = append(named[root], file)
	}
	if len(roots) > 1 && o.From != "" {
		return nil, errors.New("--from: the files of one folder have versions; name one folder")
	}
	for _, root := range roots {
		files := named[root]
		if slices.Contains(files, "") {
			files = nil // all of them
		}
		list, err := o.folder(ctx, root, files)
		if err != nil {
			return nil, err
		}
		folders = append(folders, list...)
	}
	return folders, nil
}

func (o Options) stdin() (Folder, error) {
	b, err := io.ReadAll(o.Stdin)
	if err != nil {
		return Folder{}, fmt.Errorf("standard input: %w", err)
	}
	s, err := o.Source.File(o.StdinName, string(b))
	if err != nil {
		return Folder{}, err
	}
	return Folder{Judged: s.Scripts}, nil
}

// rootOf is the folder of migrations that a file belongs to, and its path there.
func rootOf(file string) (root, name string) {
	dir, base := filepath.Dir(file), filepath.Base(file)
	switch base {
	case "up.sql", "down.sql", "migration.sql": // a folder for each migration
		return filepath.Dir(dir), filepath.Base(dir) + "/" + base
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(dir), "sqitch.plan")); err == nil {
		return filepath.Dir(dir), filepath.Base(dir) + "/" + base
	}
	return dir, base
}

// folder reads a folder of which only some files are meant; nil: all.
func (o Options) folder(ctx context.Context, root string, files []string) ([]Folder, error) {
	source, err := o.Source.Folder(os.DirFS(root))
	if err != nil && files == nil || err != nil && o.From != "" {
		return nil, Folder{Dir: root}.placed(err)
	}
	changed := func(string) bool { return true }
	if o.Since != "" {
		var gitErr error
		if changed, gitErr = changedSince(ctx, root, o.Since); gitErr != nil {
			return nil, gitErr
		}
	}
	if err != nil {
		o.Say(fmt.Sprintf("%s can't be read as a whole (%v): each file is judged by itself", root, Folder{Dir: root}.placed(err)))
		return o.alone(root, slices.DeleteFunc(slices.Clone(files), func(f string) bool { return !changed(f) }))
	}
	o.Say("read as " + source.Summary())
	above, err := source.Above(o.From)
	if err != nil {
		return nil, err
	}
	f := Folder{Dir: root}
	for _, s := range above {
		if (files == nil || slices.Contains(files, s.Name)) && changed(s.Name) {
			f.Judged = append(f.Judged, s)
		}
	}
	var strangers []string
	for _, name := range files {
		switch {
		case !changed(name), slices.ContainsFunc(source.Scripts, func(s *sqlrewrite.Script) bool { return s.Name == name }):
		case source.Back(name):
			o.Say(filepath.Join(root, name) + " takes a migration back: it is not judged")
		default:
			o.Say(fmt.Sprintf("%s is not one that is run by %s: it is judged by itself", filepath.Join(root, name), source.Format))
			strangers = append(strangers, name)
		}
	}
	alone, err := o.alone(root, strangers)
	return append([]Folder{f}, alone...), err
}

// alone reads files each by itself.
func (o Options) alone(root string, files []string) ([]Folder, error) {
	var folders []Folder
	for _, name := range files {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		s, err := o.Source.File(name, string(b))
		if err != nil {
			return nil, Folder{Dir: root}.placed(err)
		}
		if s.Back(name) {
			o.Say(filepath.Join(root, name) + " takes a migration back: it is not judged")
			continue
		}
		folders = append(folders, Folder{Dir: root, Judged: s.Scripts})
	}
	return folders, nil
}
