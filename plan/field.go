package plan

import (
	"reflect"
	"time"
)

// field is what is known of one field of a runbook or profile besides its Go type. The decoder, the JSON Schemas and the
// reference tables in docs/ all read it, so that they can't disagree.
type field struct {
	Doc      string
	Required bool     // missing, null and "" are mistakes
	Env      bool     // ${NAME} is filled in
	Enum     []string // the words that are taken
	Number   bool     // text that may be written as a number
	Min, Max int64    // of whole numbers, and of durations in nanoseconds; Max 0: no limit. Nothing may be negative
}

// fields is what is known of the fields of one map, by their names in the file.
type fields map[string]field

// runbookFields is what is known of the fields outside of steps, keyed by "Type.field".
var runbookFields = map[string]field{
	"Runbook.version": {Doc: "Version of the format: 1.", Required: true, Min: 1, Max: 1},
	"Runbook.name":    {Doc: "What the run is called in the journal and the report. Default: the file's name."},
	"Runbook.profile": {Doc: "The OAuth server: the name of a built-in profile, such as `bundled`, or the path of one, relative to the runbook.", Required: true},
	"Runbook.blue":    {Doc: "The database and server in use.", Required: true},
	"Runbook.green":   {Doc: "Their successors. Left out when the upgrade is in place."},
	"Runbook.control": {Doc: "Where the journal lives. Default: schema `tideover` of blue's database."},
	"Runbook.router":  {Doc: "How the router's replicas are reached."},
	"Runbook.locks":   {Doc: "What live traffic may feel of our SQL."},
	"Runbook.notify":  {Doc: "Who is told what becomes of a run. Whoever does not answer stops nothing."},
	"Runbook.steps":   {Doc: "What is done, in order.", Required: true},

	"Service.dsn":         {Doc: "Postgres connection string, as a URL or `key=value` pairs. Needed for blue, and for green when a step works on it.", Env: true},
	"Service.public":      {Doc: "Base URL of the server's public listener. Needed by a cutover.", Env: true},
	"Service.admin":       {Doc: "Base URL of the server's admin listener. Needed by a cutover.", Env: true},
	"Service.role":        {Doc: "The role that the OAuth server connects as. Green's is given what blue's has. Empty: it is taken to be the owner of blue's tables, and is given nothing.", Env: true},
	"Service.server_role": {Doc: "The older name of `role`.", Env: true},

	"Control.dsn": {Doc: "Postgres connection string of the journal's database.", Env: true},

	"Router.admin": {Doc: "Base URLs of the replicas' admin listeners.", Required: true, Env: true},
	"Router.token": {Doc: "The bearer token of the router's admin API.", Required: true, Env: true},

	"LockBudget.timeout": {Doc: "How long one attempt waits for a lock.", Min: int64(time.Millisecond)},
	"LockBudget.retry":   {Doc: "How long attempts go on."},

	"Notify.on":      {Doc: "What is told. Default: all of it.", Enum: notifyWords},
	"Notify.url":     {Doc: "Each is POSTed there as JSON. Where the address itself is a secret, write `${NAME}`.", Env: true},
	"Notify.secret":  {Doc: "Every call is signed with it, as those to participants (docs/cutover.md). At least 16 bytes.", Env: true},
	"Notify.command": {Doc: "A program that gets each as JSON on its standard input, in place of `url`."},
	"Notify.env":     {Doc: "Names of environment variables that the command gets beside `PATH`, `HOME`, `LANG` and the like."},
	"Notify.timeout": {Doc: "How long one try may take.", Min: int64(time.Millisecond)},
	"Notify.retries": {Doc: "How often it is tried again, with pauses of 1s, 2s, 4s and so on.", Max: 10},

	"StepSpec.step":    {Doc: "The kind of step.", Required: true},
	"StepSpec.id":      {Doc: "The step's name in the journal, unique in the runbook. Default: the kind, with -2, -3 for repeats."},
	"StepSpec.approve": {Doc: "Wait for a person before this step begins."},
}

// fieldOf looks up what is known of a field of a struct type. Every field has an entry; a test holds that.
func fieldOf(t reflect.Type, name string) field {
	for _, k := range kinds {
		if t == reflect.TypeOf(k.standard) {
			return k.fields[name]
		}
	}
	if f, ok := runbookFields[t.Name()+"."+name]; ok {
		return f
	}
	return profileFields[t.Name()+"."+name]
}

// property is one field of a map of the file, and where its value goes.
type property struct {
	name  string
	value reflect.Value
	field field
	stray bool // it stands where it doesn't count; its value goes nowhere
}

// propertiesOf are the fields of a struct that a file can name.
func propertiesOf(v reflect.Value) []property {
	if p, ok := v.Addr().Interface().(*ParticipantSpec); ok {
		return participantProperties(p)
	}
	all := structProperties(v)
	for i := range all {
		all[i].field = fieldOf(v.Type(), all[i].name)
	}
	return all
}

// structProperties are propertiesOf without what is known of each.
func structProperties(v reflect.Value) []property {
	var all []property
	for i := range v.NumField() {
		if name := yamlName(v.Type().Field(i)); name != "" {
			all = append(all, property{name: name, value: v.Field(i)})
		}
	}
	return all
}

// standards are the structs, besides the steps' own, that have defaults, with them.
var standards = []any{
	LockBudget{Timeout: 500 * time.Millisecond, Retry: 5 * time.Minute},
	standardParticipant,
	standardNotify,
	Profile{Schema: "public"},
}

// prepare gives a struct its defaults, and the structs in it theirs. It is called before decoding, so that a value of 0 in
// the file stays 0.
func prepare(v reflect.Value) {
	for _, standard := range standards {
		if reflect.TypeOf(standard) != v.Type() {
			continue
		}
		usual := reflect.ValueOf(standard)
		for i := range usual.NumField() {
			if !usual.Field(i).IsZero() {
				v.Field(i).Set(usual.Field(i))
			}
		}
	}
	for i := range v.NumField() {
		if v.Field(i).Kind() == reflect.Struct {
			prepare(v.Field(i))
		}
	}
}
