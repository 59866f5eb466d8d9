package layers

import (
	"fmt"
	"regexp"
	"strings"
)

// Layout is what docs/layout.md says.
type Layout struct {
	Rooms     []Room // the highest first
	Libraries []Library
}

// Room is a line of the table of the rooms.
type Room struct {
	Folder     string
	Parts      map[string]bool // folders beneath it that are part of it
	Production bool
	Imports    []string // rooms
	LabIn      []string // its files that may import rooms of the lab although it runs in production
}

// Library is a line of the table of the libraries.
type Library struct {
	Path   string
	Rooms  []string
	AllBut bool // every room but Rooms
	said   string
}

var (
	quoted = regexp.MustCompile("`([^`]+)`")
	// labOnlyIn begins the list of the files of a production room that may import the lab.
	labOnlyIn = regexp.MustCompile(`the lab only in (.*)$`)
)

const (
	roomsHead     = "| folder | what belongs there | in production | imports |"
	librariesHead = "| library | imported by |"
)

// Read reads both tables out of the page.
func Read(page string) (Layout, error) {
	var l Layout
	rooms, err := table(page, roomsHead)
	if err != nil {
		return l, err
	}
	for _, c := range rooms {
		folder := names(c[0])
		if len(folder) != 1 {
			return l, fmt.Errorf("docs/layout.md: no folder in backticks: %q", c[0])
		}
		r := Room{Folder: folder[0], Parts: map[string]bool{}}
		for _, part := range names(c[1]) {
			r.Parts[part] = true
		}
		switch c[2] {
		case "yes":
			r.Production = true
		case "no":
		default:
			return l, fmt.Errorf("docs/layout.md: %s: in production: %q, want yes or no", r.Folder, c[2])
		}
		imports := c[3]
		if m := labOnlyIn.FindStringSubmatch(imports); m != nil {
			r.LabIn = names(m[1])
			imports = strings.TrimSuffix(imports, m[0])
		}
		r.Imports = names(imports)
		l.Rooms = append(l.Rooms, r)
	}
	libraries, err := table(page, librariesHead)
	if err != nil {
		return l, err
	}
	for _, c := range libraries {
		for _, lib := range names(c[0]) {
			l.Libraries = append(l.Libraries, Library{
				Path: lib, Rooms: names(c[1]), AllBut: strings.HasPrefix(c[1], "all but"), said: c[1],
			})
		}
	}
	return l, nil
}

// names are the words in backticks.
func names(cell string) []string {
	var all []string
	for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
		all = append(all, m[1])
	}
	return all
}

// table is the cells of the table that has this head.
func table(page, head string) ([][]string, error) {
	_, after, found := strings.Cut(page, head+"\n")
	if !found {
		return nil, fmt.Errorf("docs/layout.md: no table with the head %q", head)
	}
	columns := strings.Count(head, "|") - 1
	var lines [][]string
	for n, line := range strings.Split(after, "\n") {
		if !strings.HasPrefix(line, "|") {
			break
		}
		if n == 0 { // the rule below the head
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != columns {
			return nil, fmt.Errorf("docs/layout.md: %d cells instead of %d: %s", len(cells), columns, line)
		}
		for n := range cells {
			cells[n] = strings.TrimSpace(cells[n])
		}
		lines = append(lines, cells)
	}
	return lines, nil
}
