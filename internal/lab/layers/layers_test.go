package layers

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../../.."

func layout(t *testing.T) Layout {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "docs/layout.md"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := Read(string(page))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func files(t *testing.T) []File {
	t.Helper()
	files, err := Files(root, "github.com/tideover/tideover")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func there(folder string) bool {
	info, err := os.Stat(filepath.Join(root, folder))
	return err == nil && info.IsDir()
}

// The repository is as docs/layout.md says.
func TestLayout(t *testing.T) {
	t.Parallel()
	for _, wrong := range Check(layout(t), files(t), there) {
		t.Error(wrong)
	}
}

// Whatever is wrong is found: each case plants one fault into the real page or the real imports.
func TestPlanted(t *testing.T) {
	t.Parallel()
	imports := func(file, path string) func(*Layout, *[]File) {
		return func(_ *Layout, files *[]File) { *files = append(*files, File{file, []string{path}}) }
	}
	room := func(folder string, change func(*Room)) func(*Layout, *[]File) {
		return func(l *Layout, _ *[]File) {
			change(&l.Rooms[slices.IndexFunc(l.Rooms, func(r Room) bool { return r.Folder == folder })])
		}
	}
	for _, c := range []struct {
		name  string
		plant func(*Layout, *[]File)
		want  string
	}{
		{"a pure room imports pgx", imports("sqlrewrite/planted.go", "github.com/jackc/pgx/v5"),
			"sqlrewrite/planted.go imports github.com/jackc/pgx/v5, which is for all but"},
		{"a pure room imports goose", imports("internal/journal/planted.go", "github.com/pressly/goose/v3"),
			"internal/journal/planted.go imports github.com/pressly/goose/v3, which is for all but"},
		{"an engine imports cobra", imports("replay/planted.go", "github.com/spf13/cobra"),
			"replay/planted.go imports github.com/spf13/cobra, which is for `cmd` alone"},
		{"an engine draws", imports("steps/planted.go", "charm.land/lipgloss/v2"),
			"steps/planted.go imports charm.land/lipgloss/v2, which is for `cmd` `internal/tui` alone"},
		{"production imports the lab", imports("steps/planted.go", "./internal/lab/seed"),
			"steps/planted.go imports internal/lab/seed, which never runs in production; steps does"},
		{"a command imports the lab", imports("cmd/server.go", "./internal/lab/seed"),
			"cmd/server.go imports internal/lab/seed, which never runs in production; cmd does"},
		{"a part of a room of the lab", imports("plan/planted.go", "./internal/lab/pgserver/pgtest"),
			"plan/planted.go imports internal/lab/pgserver, which never runs in production; plan does"},
		{"an import that no line lists", imports("plan/planted.go", "./sqlrewrite"),
			"plan/planted.go imports sqlrewrite: by the layout, plan may not"},
		{"a folder that no line names", imports("internal/planted/planted.go", "fmt"),
			"the layout has no line for the folder internal/planted"},
		{"a part that its room does not name", imports("plan/planted/planted.go", "fmt"),
			"the layout has no line for the folder plan/planted"},
		{"a line that is missing", func(l *Layout, _ *[]File) {
			l.Rooms = slices.DeleteFunc(l.Rooms, func(r Room) bool { return r.Folder == "replay" })
		}, "the layout has no line for the folder replay"},
		{"a line too many", func(l *Layout, _ *[]File) {
			l.Rooms = append(l.Rooms, Room{Folder: "internal/gone"})
		}, "the layout has a line for internal/gone: there is no such folder"},
		{"an import that is not there", room("internal/tui", func(r *Room) { r.Imports = append(r.Imports, "plan") }),
			"the layout says that internal/tui imports plan: it does not"},
		{"an import upwards", room("plan", func(r *Room) { r.Imports = append(r.Imports, "steps") }),
			"the layout lets plan import steps, which stands above it"},
		{"an import of no room", room("plan", func(r *Room) { r.Imports = append(r.Imports, "internal/gone") }),
			"the layout lets plan import internal/gone: it has no such room"},
		{"the lab in production", room("internal/lab/seed", func(r *Room) { r.Production = true }),
			"the layout says that internal/lab/seed runs in production"},
		{"production that does not run", room("replay", func(r *Room) { r.Production = false }),
			"imports replay, which by the layout does not run in production; steps does"},
		{"a file that needs no lab", room("cmd", func(r *Room) { r.LabIn = append(r.LabIn, "plan.go") }),
			"the layout says that cmd/plan.go imports something of internal/lab: it does not"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, f := layout(t), files(t)
			c.plant(&l, &f)
			found := Check(l, f, there)
			if !slices.ContainsFunc(found, func(s string) bool { return strings.Contains(s, c.want) }) {
				t.Errorf("found %q, want %q", found, c.want)
			}
		})
	}
}

// A page that can't be read is no page that holds.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	libraries := "\n\n" + librariesHead + "\n|---|---|\n"
	for page, want := range map[string]string{
		"":                             "no table with the head",
		roomsHead + "\n|---|\n| `a` |": "1 cells instead of 4",
		roomsHead + "\n|---|---|---|---|\n| a | b | yes | |" + libraries:         "no folder in backticks",
		roomsHead + "\n|---|---|---|---|\n| `a` | b | sometimes | |" + libraries: "want yes or no",
	} {
		if _, err := Read(page); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", page, err, want)
		}
	}
}
