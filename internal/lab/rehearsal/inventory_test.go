package rehearsal

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestCompare compares what an API said of one thing before and after.
func TestCompare(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, kind, before, after, want string
	}{
		{"the same", "", `{"a":[1,"x",null,{"b":true}]}`, `{"a":[1,"x",null,{"b":true}]}`, ""},
		{"more", "", `{"a":1}`, `{"a":1,"b":2}`, ""},
		{"less", "", `{"a":1,"b":{"c":2}}`, `{"a":1}`, ".b.c is <nil>, and was 2"},
		{"another status", "", `{"status":200}`, `{"status":404}`, ".status is 404, and was 200"},
		{"nothing in other words", "", `{"a":[],"b":"","c":null,"d":{}}`, `{}`, ""},
		{"something of nothing", "", `{"a":null}`, `{"a":"x"}`, ".a is x"},
		{"a time, to the second", "", `{"t":"2026-01-02T03:04:05.678901Z"}`, `{"t":"2026-01-02T04:04:05+01:00"}`, ""},
		{"another time", "", `{"t":"2026-01-02T03:04:05Z"}`, `{"t":"2026-01-02T03:04:07Z"}`, ".t is"},
		{"a list in another order", "", `{"scope":["a","b"]}`, `{"scope":["b","a"]}`, ".scope[]"},
		{"consents in another order", "", `[{"handled_at":"1","x":1},{"handled_at":"2","x":2}]`, `[{"handled_at":"2","x":2},{"handled_at":"1","x":1}]`, ""},
		{"a consent more", "", `[]`, `[{"handled_at":"1"}]`, "has 1 elements, and had 0"},
		{"a key more", "", `{"keys":[{"kid":"a"}]}`, `{"keys":[{"kid":"b"},{"kid":"a"}]}`, ""},
		{"a key less", "", `{"keys":[{"kid":"a"},{"kid":"b"}]}`, `{"keys":[{"kid":"b"}]}`, ".keys has 1 elements"},
		{"what jsonb can't hold", "", `{"a":"x\u0000y"}`, `{"a":"xy"}`, ""},
		{"what a rule repairs", "client-without-owner", `{"body":{"owner":""}}`, `{"body":{"owner":"unknown"}}`, ""},
		{"in a session without need", "plain", `{"body":{"owner":""}}`, `{"body":{"owner":"unknown"}}`, ".body.owner"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var before, after any
			if err := json.Unmarshal([]byte(tt.before), &before); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(tt.after), &after); err != nil {
				t.Fatal(err)
			}
			got := strings.Join(compare(nil, repaired[tt.kind], "", before, after), "; ")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("finds %q, want %q", got, tt.want)
			}
		})
	}
}
