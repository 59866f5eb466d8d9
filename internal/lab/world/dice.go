package world

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// dice make a world's choices. Each hangs on the seed and on its own name alone, so that a feature can be left out and
// all others stay as they were: that is what makes a world shrink.
type dice struct {
	seed  uint64
	path  string
	taken *choices
}

// choices are the features of a world.
type choices struct {
	only    map[string]bool // nil: chance decides
	without []string        // kinds that are left out, whoever wants them
	made    []string        // in the order in which they were asked for
}

// at are the dice of a part.
func (d dice) at(part string) dice { return dice{d.seed, d.name(part), d.taken} }

func (d dice) name(part string) string {
	if d.path == "" {
		return part
	}
	return d.path + "/" + part
}

func (d dice) throw(name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(d.name(name)))
	return rand.New(rand.NewPCG(d.seed, h.Sum64()))
}

// has decides on a feature, which shrinking may leave out.
func (d dice) has(feature string, chance float64) bool {
	name := d.name(feature)
	there := d.taken.only[name]
	if d.taken.only == nil {
		there = !slices.Contains(d.taken.without, feature) && d.throw(feature).Float64() < chance
	}
	if there && !slices.Contains(d.taken.made, name) {
		d.taken.made = append(d.taken.made, name)
	}
	return there
}

// n is a number from 0 to below.
func (d dice) n(name string, below int) int { return d.throw(name).IntN(below) }

// pick is one of a list.
func pick[T any](d dice, name string, list []T) T { return list[d.n(name, len(list))] }

// one is one of a list, which is a feature by its label: without it ok is false.
func (d dice) one(name string, labels []string) (i int, ok bool) {
	i = d.n(name, len(labels))
	return i, d.has(labels[i], 1)
}

// Recipe is what a world is made from: a seed, and the features that are left of it; nil: all that chance gives.
type Recipe struct {
	Seed     uint64
	Features []string
	Without  []string // kinds of features that chance does not give, such as "twin" or "touch"
}

// ParseRecipe reads "seed" or "seed:feature;feature", as [Recipe.String] writes it.
func ParseRecipe(text string) (Recipe, error) {
	seed, list, some := strings.Cut(text, ":")
	n, err := strconv.ParseUint(seed, 10, 64)
	if err != nil {
		return Recipe{}, err
	}
	r := Recipe{Seed: n}
	if some {
		r.Features = strings.FieldsFunc(list, func(c rune) bool { return c == ';' })
		if r.Features == nil {
			r.Features = []string{}
		}
	}
	return r, nil
}

func (r Recipe) String() string {
	s := strconv.FormatUint(r.Seed, 10)
	if r.Features != nil {
		s += ":" + strings.Join(r.Features, ";")
	}
	return s
}

// dice are the recipe's.
func (r Recipe) dice() dice {
	c := &choices{without: r.Without}
	if r.Features != nil {
		c.only = make(map[string]bool, len(r.Features))
		for _, f := range r.Features {
			c.only[f] = true
		}
	}
	return dice{seed: r.Seed, taken: c}
}
