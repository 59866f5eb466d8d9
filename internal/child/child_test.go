package child_test

import (
	"slices"
	"testing"

	"github.com/tideover/tideover/internal/child"
)

func TestEnvironment(t *testing.T) {
	for name, value := range map[string]string{"PATH": "/bin", "LC_ALL": "C", "GREEN_DSN": "postgres://app:secret@green/auth", "SECRETS_SYSTEM": "s", "PGSSLMODE": "require", "PGPASSWORD": "p", "PG": "x"} {
		t.Setenv(name, value)
	}
	for _, tt := range []struct {
		name      string
		names     []string
		has, lack []string
	}{
		{"nothing named", nil, []string{"PATH=/bin", "LC_ALL=C"}, []string{"GREEN_DSN=postgres://app:secret@green/auth", "SECRETS_SYSTEM=s", "PGSSLMODE=require"}},
		{"one named", []string{"SECRETS_SYSTEM", "NOT_SET"}, []string{"PATH=/bin", "SECRETS_SYSTEM=s"}, []string{"GREEN_DSN=postgres://app:secret@green/auth", "NOT_SET="}},
		{"a beginning", []string{"PGSSL*"}, []string{"PGSSLMODE=require"}, []string{"PGPASSWORD=p", "PG=x"}},
	} {
		got := child.Environment(tt.names...)
		for _, kv := range tt.has {
			if !slices.Contains(got, kv) {
				t.Errorf("%s: %s is missing", tt.name, kv)
			}
		}
		for _, kv := range tt.lack {
			if slices.Contains(got, kv) {
				t.Errorf("%s: %s is there", tt.name, kv)
			}
		}
	}
}
