package rehearsal

import "testing"

func TestLifetimesAreKept(t *testing.T) {
	t.Parallel()
	hour, more := "3600", "3601"
	before := lifetimes{"a: x": &hour, "b: x": nil, "gone: x": &hour}
	for name, tt := range map[string]struct {
		after lifetimes
		want  int
	}{
		"as before":               {lifetimes{"a: x": &hour, "b: x": nil, "new: x": &hour}, 0},
		"a second off":            {lifetimes{"a: x": &more, "b: x": nil}, 1},
		"one that had none":       {lifetimes{"a: x": &hour, "b: x": &hour}, 1},
		"the server's own again":  {lifetimes{"a: x": nil, "b: x": nil}, 1},
		"columns of another name": {lifetimes{"a: y": nil}, 0},
	} {
		if found := before.kept(tt.after); len(found) != tt.want {
			t.Errorf("%s: %q, want %d findings", name, found, tt.want)
		}
	}
}
