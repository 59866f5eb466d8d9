package snapshot

import (
	"slices"
	"strings"
	"testing"
)

func TestPasswordIsNeverOnACommandLine(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, dsn, want string }{
		{"url", "postgres://u:s%27ecret@127.0.0.1:5/my%20db?sslmode=disable&pool_max_conns=3", `host='127.0.0.1' port='5' user='u' dbname='my db' sslmode='disable'`},
		{"url with a query", "postgresql:///d?host=/run&port=6&user=u&password=s%27ecret", `host='/run' port='6' user='u' dbname='d'`},
		{"keywords", `host=h port=7 user=u password='s\'ecret' dbname='it''s' sslmode = 'disable'`, ``},
		{"quoted keywords", `host=h port=7 user='a b' password='s\'ecret' dbname='it\'s' sslmode = 'disable'`, `host='h' port='7' user='a b' dbname='it\'s' sslmode='disable'`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			conninfo, env, err := libpq(tc.dsn)
			if tc.want == "" {
				if err == nil {
					t.Fatal("a connection string that libpq would refuse is taken")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(conninfo, tc.want) || strings.Contains(conninfo, "ecret") || strings.Contains(conninfo, "pool_max") {
				t.Errorf("command line %s\nwant %s", conninfo, tc.want)
			}
			if !slices.Contains(env, "PGPASSWORD=s'ecret") {
				t.Error("the password is not in the environment")
			}
		})
	}
}
