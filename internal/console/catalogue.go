package console

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Scope is what the pages say of a scope.
type Scope struct {
	Name       string `yaml:"-"`
	Title      string `yaml:"title"`      // what the app may do with it, in plain words
	Detail     string `yaml:"detail"`     // more, in a sentence
	Required   bool   `yaml:"required"`   // granted with any consent
	Restricted bool   `yaml:"restricted"` // not for apps that people register themselves
	Unknown    bool   `yaml:"-"`          // shown as it is
}

// Catalogue has the scopes by name. The zero value has those of OpenID Connect.
type Catalogue struct{ scopes map[string]Scope }

// builtIn are the scopes of OpenID Connect Core, section 5.4 and 11, and Hydra's other word for the last.
func builtIn() map[string]Scope {
	out := map[string]Scope{}
	for _, name := range []string{"openid", "profile", "email", "address", "phone", "offline_access", "offline"} {
		out[name] = Scope{Title: text("scope." + name), Detail: text("scope." + name + ".detail"), Required: name == "openid"}
	}
	return out
}

// LoadCatalogue reads a YAML file: under scopes, by name, title, detail, required and restricted. What it does not name
// is built in.
func LoadCatalogue(path string) (Catalogue, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Catalogue{}, fmt.Errorf("scope catalogue: %w", err)
	}
	var file struct {
		Scopes map[string]Scope `yaml:"scopes"`
	}
	if err := yaml.UnmarshalWithOptions(text, &file, yaml.Strict()); err != nil {
		return Catalogue{}, fmt.Errorf("scope catalogue %s: %w", path, err)
	}
	all := builtIn()
	for name, s := range file.Scopes {
		if s.Title == "" {
			return Catalogue{}, fmt.Errorf("scope catalogue %s: scope %q has no title", path, name)
		}
		if !scopeName(name) {
			return Catalogue{}, fmt.Errorf("scope catalogue %s: %q is no scope", path, name)
		}
	}
	maps.Copy(all, file.Scopes)
	return Catalogue{all}, nil
}

// scopeName tells a scope-token (RFC 6749, section 3.3).
func scopeName(s string) bool {
	for _, r := range s {
		if r <= ' ' || r > '~' || r == '"' || r == '\\' {
			return false
		}
	}
	return s != ""
}

func (c Catalogue) all() map[string]Scope {
	if c.scopes == nil {
		return builtIn()
	}
	return c.scopes
}

// names are the scopes in the order in which people read them: those that are needed first.
func (c Catalogue) names() []string {
	all := c.all()
	return slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		if all[a].Required != all[b].Required {
			if all[a].Required {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
}

func (c Catalogue) scope(name string) Scope {
	s, ok := c.all()[name]
	s.Name, s.Unknown = name, !ok
	return s
}
