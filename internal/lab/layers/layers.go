// Package layers holds the imports of this repository against docs/layout.md, so that the page is true and the layers are
// kept.
//
// The page has two tables that a machine can read. Of the rooms, each line names a folder, says whether it runs in
// production, and lists which other rooms it imports: no more, no fewer, and only rooms further down. Of the libraries,
// each line names a path outside of the repository and the rooms that may import it.
//
// Tests may import what they like.
package layers

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// File is what a Go file imports.
type File struct {
	Path    string   // from the root of the repository, with slashes
	Imports []string // as they are written; those of this repository without its module path, after a "./"
}

// lab is where everything lives that never touches production.
const lab = "internal/lab"

// Check says what is wrong, in sentences: with the page, or with the imports. exists reports whether a folder is there.
func Check(l Layout, files []File, exists func(folder string) bool) []string {
	var wrong []string
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	imported := map[string]map[string]bool{} // by room
	for _, f := range files {
		folder := path.Dir(f.Path)
		from := l.room(folder)
		if from == nil {
			complain("%s: the layout has no line for the folder %s: add it to the table of the rooms", f.Path, folder)
			continue
		}
		if imported[from.Folder] == nil {
			imported[from.Folder] = map[string]bool{}
		}
		for _, i := range f.Imports {
			ours, isOurs := strings.CutPrefix(i, "./")
			if !isOurs {
				for _, lib := range l.Libraries {
					if within(i, lib.Path) && !lib.may(from.Folder) {
						complain("%s imports %s, which is for %s alone", f.Path, i, lib.said)
					}
				}
				continue
			}
			to := l.room(ours)
			if to == nil || to == from {
				continue // a room that is missing is said of its own files
			}
			imported[from.Folder][to.Folder] = true
			if !slices.Contains(from.Imports, to.Folder) {
				complain("%s imports %s: by the layout, %s may not", f.Path, to.Folder, from.Folder)
			}
			if within(to.Folder, lab) && from.Production && !slices.Contains(from.LabIn, path.Base(f.Path)) {
				complain("%s imports %s, which never runs in production; %s does", f.Path, to.Folder, from.Folder)
			}
			if !within(to.Folder, lab) && from.Production && !to.Production {
				complain("%s imports %s, which by the layout does not run in production; %s does", f.Path, to.Folder, from.Folder)
			}
		}
	}
	for n, r := range l.Rooms {
		if !exists(r.Folder) {
			complain("the layout has a line for %s: there is no such folder", r.Folder)
		}
		if r.Production && within(r.Folder, lab) {
			complain("the layout says that %s runs in production: nothing in %s does", r.Folder, lab)
		}
		for _, to := range r.Imports {
			if at := slices.IndexFunc(l.Rooms, func(o Room) bool { return o.Folder == to }); at < 0 {
				complain("the layout lets %s import %s: it has no such room", r.Folder, to)
			} else if at <= n {
				complain("the layout lets %s import %s, which stands above it: imports go downwards", r.Folder, to)
			} else if !imported[r.Folder][to] {
				complain("the layout says that %s imports %s: it does not", r.Folder, to)
			}
		}
		for _, file := range r.LabIn {
			if !slices.ContainsFunc(files, func(f File) bool {
				return f.Path == r.Folder+"/"+file && slices.ContainsFunc(f.Imports, func(i string) bool { return within(i, "./"+lab) })
			}) {
				complain("the layout says that %s/%s imports something of %s: it does not", r.Folder, file, lab)
			}
		}
	}
	slices.Sort(wrong)
	return slices.Compact(wrong)
}

// within reports whether a path is another one or beneath it.
func within(p, above string) bool { return p == above || strings.HasPrefix(p, above+"/") }

// room is the room that a folder belongs to: its own, or the one above it whose line names it. nil where there is none.
func (l Layout) room(folder string) *Room {
	for n := range l.Rooms {
		r := &l.Rooms[n]
		if r.Folder == folder || r.Parts[strings.TrimPrefix(folder, r.Folder+"/")] && within(folder, r.Folder) {
			return r
		}
	}
	return nil
}

func (l Library) may(folder string) bool { return slices.Contains(l.Rooms, folder) != l.AllBut }
