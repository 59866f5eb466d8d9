package plan

import (
	"cmp"
	"slices"
	"strings"
)

// Schemas are those of the tables that a profile names, its own first. A table of the first is called by its name, one of another by
// schema.table.
type Schemas []string

// Schemas are the profile's.
func (p *Profile) Schemas() Schemas {
	return append(Schemas{cmp.Or(p.Schema, "public")}, p.OtherSchemas...)
}

// own is the profile's own schema.
func (s Schemas) own() string {
	if len(s) == 0 {
		return "public"
	}
	return s[0]
}

// Place is the schema of what a profile calls a table, and its name there.
func (s Schemas) Place(called string) (schema, name string) {
	if schema, name, qualified := strings.Cut(called, "."); qualified && len(s) > 1 && slices.Contains(s[1:], schema) {
		return schema, name
	}
	return s.own(), called
}

// Called is what a profile calls a table.
func (s Schemas) Called(schema, name string) string {
	if schema == s.own() {
		return name
	}
	return schema + "." + name
}

// Ident is the name of what a profile calls a table, as SQL has it.
func (s Schemas) Ident(called string) string {
	schema, name := s.Place(called)
	return identifier(schema) + "." + identifier(name)
}

func identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
