package plan

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// participantKinds are the ways in which a participant is spoken to. Each is told in the file of its name.
var participantKinds = []participantKind{httpKind, execKind, fileKind, sqlKind, pgbouncerKind}

// participantKind is everything that is known of a kind of participant before it is built. In a runbook its fields stand
// beside those of [ParticipantSpec]; kinds may have fields of the same name and type.
type participantKind struct {
	name   string
	config any    // the kind's own fields: a struct
	fields fields // what is known of each; a required one is missed by this kind only
	check  func(d *decoder, path string, config any)
	words  func(config any) []string // of the commands that it runs: they are in the process list
	job    bool                      // a job of pause-jobs can be of this kind, too
}

// ParticipantSpec is something that switches together with the rest.
type ParticipantSpec struct {
	Name    string
	Kind    string        // one of participantKinds
	Config  any           // the kind's own fields: *HTTPSpec, *ExecSpec, …
	Timeout time.Duration // one call
}

var participantFields = fields{
	"name":    {Doc: "Its name in the journal, unique in its list.", Required: true},
	"kind":    {Doc: "How it is spoken to; says which of the other fields count.", Required: true, Enum: participantNames()},
	"timeout": {Doc: "How long one call may take.", Min: int64(time.Millisecond)},
}

// NewParticipant is a participant as a runbook gives it that names nothing else: config is a pointer to the kind's own
// fields. Without a name it is called after its kind.
func NewParticipant(name string, config any) ParticipantSpec {
	p := standardParticipant
	p.Name, p.Config = name, config
	for _, k := range participantKinds {
		if reflect.TypeOf(config) == reflect.PointerTo(reflect.TypeOf(k.config)) {
			p.Kind = k.name
		}
	}
	if p.Name == "" {
		p.Name = p.Kind
	}
	return p
}

var standardParticipant = ParticipantSpec{Timeout: 5 * time.Second}

func participantNames() []string {
	var names []string
	for _, k := range participantKinds {
		names = append(names, k.name)
	}
	return names
}

func jobKinds() []string {
	var names []string
	for _, k := range participantKinds {
		if k.job {
			names = append(names, k.name)
		}
	}
	return names
}

// participantKindOf is the kind of that name, or nil.
func participantKindOf(name string) *participantKind {
	i := slices.IndexFunc(participantKinds, func(k participantKind) bool { return k.name == name })
	if i < 0 {
		return nil
	}
	return &participantKinds[i]
}

// participant decodes one participant. Fields of other kinds are decoded too, and kept nowhere: what is wrong in them is
// said, and that they don't count is said by checkParticipants.
func (d *decoder) participant(n ast.Node, p *ParticipantSpec, path string) {
	*p = standardParticipant
	entries, ok := d.entries(n, path, wanted(reflect.TypeFor[ParticipantSpec]()))
	if !ok {
		return
	}
	for _, entry := range entries {
		if text, ok := textOf(entry.Value); ok && keyText(entry.Key) == "kind" {
			if k := participantKindOf(text); k != nil {
				p.Config = fresh(k.config)
			}
		}
	}
	properties := participantProperties(p)
	d.properties(entries, properties, path, nil)
	for _, x := range properties {
		if x.stray && !x.value.IsZero() && (x.value.Kind() != reflect.Slice || x.value.Len() > 0) {
			d.stray[join(path, x.name)] = true
		}
	}
}

// participantProperties are all fields that a participant can have in a runbook. Those of the kind are in its Config, the
// others in values that nobody else has.
func participantProperties(p *ParticipantSpec) []property {
	common := func(name string, v any) property {
		return property{name: name, value: reflect.ValueOf(v).Elem(), field: participantFields[name]}
	}
	all := []property{common("name", &p.Name), common("kind", &p.Kind)}
	for _, k := range participantKinds {
		for _, own := range structProperties(reflect.ValueOf(fresh(k.config)).Elem()) {
			if !slices.ContainsFunc(all, func(x property) bool { return x.name == own.name }) {
				own.field, own.stray = sharedField(own.name), true
				all = append(all, own)
			}
		}
	}
	if p.Config != nil {
		for _, own := range structProperties(reflect.ValueOf(p.Config).Elem()) {
			i := slices.IndexFunc(all, func(x property) bool { return x.name == own.name })
			all[i].value, all[i].stray = own.value, false
		}
	}
	return append(all, common("timeout", &p.Timeout))
}

// sharedField is what is known of a field of all kinds that have it.
func sharedField(name string) field {
	var shared field
	var names, docs []string
	for _, k := range participantKinds {
		f, ok := k.fields[name]
		if !ok {
			continue
		}
		shared = f
		names = append(names, k.name)
		if doc := strings.TrimSuffix(f.Doc, "."); !slices.Contains(docs, doc) {
			docs = append(docs, doc)
		}
	}
	shared.Required = false // by one kind only: checkParticipants says so
	shared.Doc = strings.Join(names, ", ") + ": " + strings.Join(docs, ", or ") + "."
	return shared
}

// checkParticipants looks at a list of participants, each of one of the kinds.
func (d *decoder) checkParticipants(list string, all []ParticipantSpec, kinds []string) {
	names := make(map[string]int)
	for i, p := range all {
		path := item(list, i)
		if first, ok := names[p.Name]; ok && p.Name != "" {
			d.add(join(path, "name"), "every participant needs a name of its own", "is the name of %s too", item(list, first))
		} else {
			names[p.Name] = i
		}
		k := participantKindOf(p.Kind)
		if k == nil || p.Config == nil {
			continue // said already
		}
		if !slices.Contains(kinds, p.Kind) {
			d.add(join(path, "kind"), "one of "+strings.Join(kinds, ", "), "a %s can't be used here", p.Kind)
			continue
		}
		d.checkParticipantFields(path, p, k)
		if k.check != nil {
			k.check(d, path, p.Config)
		}
	}
}

func (d *decoder) checkParticipantFields(path string, p ParticipantSpec, k *participantKind) {
	must, may := k.split()
	missing := p.Missing()
	for _, x := range participantProperties(&p) {
		at := join(path, x.name)
		switch {
		case slices.Contains(missing, x.name):
			if _, said := d.places[at]; !said { // a wrong type has been reported already
				d.add(at, fmt.Sprintf("kind %s needs %s", k.name, strings.Join(must, ", ")), "missing")
			}
		case d.stray[at]:
			d.add(at, fmt.Sprintf("kind %s has %s", k.name, strings.Join(slices.Concat(must, may), ", ")), "does not count for kind %s", k.name)
		}
	}
}

// split is the fields that a kind can't do without, and the others.
func (k *participantKind) split() (must, may []string) {
	for _, x := range structProperties(reflect.ValueOf(k.config)) {
		if k.fields[x.name].Required {
			must = append(must, x.name)
		} else {
			may = append(may, x.name)
		}
	}
	return must, may
}

// Missing names the fields that the participant's kind needs and that are not there.
func (p ParticipantSpec) Missing() []string {
	k := participantKindOf(p.Kind)
	if k == nil || p.Config == nil {
		return nil
	}
	var names []string
	for _, x := range structProperties(reflect.ValueOf(p.Config).Elem()) {
		if k.fields[x.name].Required && (x.value.IsZero() || x.value.Kind() == reflect.Slice && x.value.Len() == 0) {
			names = append(names, x.name)
		}
	}
	return names
}

// commandsOf are the programs that participants run.
func commandsOf(what string, all []ParticipantSpec) []command {
	var commands []command
	for _, p := range all {
		if k := participantKindOf(p.Kind); k != nil && k.words != nil {
			commands = append(commands, command{what + p.Name, k.words(p.Config)})
		}
	}
	return commands
}
