package world_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/mutant"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/lab/world"
)

// root is the repository's, which the mutants' files are relative to.
const root = "../../.."

// soaked is how many worlds a mutant may survive in a soak.
const soaked = 200

// bound is how many worlds a mutant may survive: in a soak, and in a run, which has minutes.
func bound() int {
	if os.Getenv("TIDEOVER_SLICE") == "all" {
		return soaked
	}
	return 4
}

// mutants are mistakes in copy, capture, replay, merge and fence. Each must be seen within bound worlds.
var mutants = []mutant.Mutant{
	edit("inserts are not captured", "replay/trigger.go", `record("I", "NEW")+";"`, `"NULL;"`),
	edit("updates are not captured", "replay/trigger.go", `record("U", "OLD")+";"`, `"NULL;"`),
	edit("deletes are not captured", "replay/trigger.go", `record("D", "OLD")+";"`, `"NULL;"`),
	edit("truncates are not captured", "replay/trigger.go", `		truncated = emptied(record("D", "t"))`+"\n\t} else", `		truncated = emptied("NULL")`+"\n\t} else"),
	edit("capture sleeps for replicas", "replay/trigger.go", `"ENABLE ALWAYS TRIGGER "`, `"ENABLE TRIGGER "`),
	edit("a row that is there stays as it is", "replay/stage.go", "\tif len(set) == 0 {\n\t\treturn sql + \"NOTHING\"", "\tif len(set) >= 0 {\n\t\treturn sql + \"NOTHING\""),
	edit("texts are not updated", "replay/stage.go", "\t\tset = append(set, name+", "\t\tif c.typ == \"text\" {\n\t\t\tcontinue\n\t\t}\n\t\tset = append(set, name+"),
	edit("merge by one key only", "replay/merge.go", "if err := r.replace(ctx, tx, stages, d);", "if err := error(nil);"),
	edit("nothing is deleted from green", "replay/merge.go", "if n, err = r.remove(ctx, tx, stages, d, gone.keys);", "if n, err = 0, error(nil);"),
	edit("a row of each delta is lost", "replay/merge.go", `"SELECT "+columns+" FROM "+rel.rows(), tx.Conn()`, `"SELECT "+columns+" FROM "+rel.rows()+" OFFSET 1", tx.Conn()`),
	edit("on_delete is forgotten", "replay/merge.go", "r.removeByStatement(ctx, tx, gone.statements)", "r.removeByStatement(ctx, tx, gone.statements[:0])"),
	edit("collapse keeps the first change", "replay/claim.go", "\t\t\tseeds = append(seeds, s)\n\t\t}\n", "\t\t\tseeds = append(seeds, s)\n\t\t} else {\n\t\t\tcontinue\n\t\t}\n"),
	{Name: "no closure", Edits: []mutant.Edit{
		{File: "replay/closure.go", Old: "\tfresh := make(map[string][]tuple)\n\tfor table, set", New: "\tif true {\n\t\treturn found, nil\n\t}\n\tfresh := make(map[string][]tuple)\n\tfor table, set"},
		{File: "replay/closure.go", Old: "\tfor _, e := range r.loose {\n", New: "\tif true {\n\t\treturn found, nil\n\t}\n\tfor _, e := range r.loose {\n"},
	}},
	edit("orphans of blue pass", "replay/batch.go", "if err := r.bereft(ctx, tx, d.seeds);", "if err := error(nil);"),
	edit("heirs are watched by statements", "replay/watch.go", `each = "ROW"`, `each = "STATEMENT"`),
	edit("sequences run ahead", "internal/snapshot/sequence.go", "pg_catalog.regclass, $2, $3)", "pg_catalog.regclass, $2::pg_catalog.int8 + 1, $3)"),
	edit("the fence refuses nothing", "replay/fence.go", "IF refused_until OPERATOR(pg_catalog.<>) 0", "IF refused_until OPERATOR(pg_catalog.<) 0"),
	edit("children of a table are copied with it", "internal/snapshot/relation.go", `return "ONLY "`, `return ""`),
	edit("a copy ends early", "internal/snapshot/relation.go", `FROM %s%s t%s", list`, `FROM %s%s t%s LIMIT 4", list`),
	edit("a key that moves leaves its row behind", "replay/intake.go", "SELECT 'D', w.key WHERE w.op = 'U' AND", "SELECT 'D', w.key WHERE w.op = 'Z' AND"),
	edit("a key that moves arrives nowhere", "replay/intake.go", "SELECT 'I', w.moved WHERE w.op = 'U' AND", "SELECT 'I', w.moved WHERE w.op = 'Z' AND"),
	edit("sequences stay where they were copied", "steps/cutover.go", "snapshot.AdvanceSequences(ctx, s.env.Blue, s.env.Green, ", "snapshot.AdvanceSequences(ctx, s.env.Green, s.env.Green, "),
	edit("what is set back stays ahead", "internal/snapshot/sequence.go", "untouched = untouched && was.Last", "untouched = false && was.Last"),
	edit("changes are taken from the last to the first", "replay/claim.go", "return int(a.id - b.id) })\n\treturn found, head", "return int(b.id - a.id) })\n\treturn found, head"),
	edit("parents are deleted before children", "replay/remove.go", "\tslices.Reverse(children)\n", "\tslices.Reverse(children[:0])\n"),
	edit("the fence waits for no writer", "replay/fence.go", "` IN SHARE MODE`", "` IN ACCESS SHARE MODE`"),
	edit("dates travel as a database prints them", "internal/postgres/settings.go", "\t\t{\"DateStyle\", \"ISO, MDY\"},\n", ""),
}

func edit(name, file, old, new string) mutant.Mutant {
	return mutant.Mutant{Name: name, Edits: []mutant.Edit{{File: file, Old: old, New: new}}}
}

// A change of the source that leaves a mutant behind shows at once.
func TestMutantsFitTheSource(t *testing.T) {
	t.Parallel()
	for _, m := range mutants {
		if _, err := m.Files(root); err != nil {
			t.Error(err)
		}
	}
}

// TestMutants plays worlds with a slice of the mutants until one goes wrong.
func TestMutants(t *testing.T) {
	quick.Skip(t)
	for _, m := range slice.Pick(t, 0, mutants) {
		t.Run(strings.ReplaceAll(m.Name, " ", "-"), func(t *testing.T) {
			sick := pair
			sick.Unaudited = true
			sick.Binary = filepath.Join(t.TempDir(), "tideover")
			if err := m.Build(t.Context(), root, "./cmd/tideover", sick.Binary); err != nil {
				t.Fatal(err)
			}
			for n := range bound() {
				w, _ := world.Generate(world.Recipe{Seed: uint64(n), Without: apart})
				w.Name += "_mutant"
				o, err := sick.Play(t.Context(), w)
				if err != nil {
					t.Fatal(err)
				}
				if o.Verdict == world.Wrong {
					t.Logf("%-45s seen in world %d", m.Name, n)
					return
				}
			}
			if bound() == soaked {
				t.Errorf("%d worlds see nothing of %q", bound(), m.Name)
			}
			t.Logf("NOT PROVED: %d worlds see nothing of %q", bound(), m.Name)
		})
	}
}
