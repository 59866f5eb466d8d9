package snapshot

import (
	"os"
	"path/filepath"
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

// A connection string with several hosts, a service and options of its own means to Postgres' programs what it means to us.
func TestConnectionStringsOfAllKinds(t *testing.T) {
	service := filepath.Join(t.TempDir(), "services")
	if err := os.WriteFile(service, []byte("[blue]\nhost=a,b\nport=5,6\nuser=u\npassword=secret\ndbname=d\nsslmode=disable\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dsn := range map[string]string{
		"several hosts": "postgres://u:secret@a:5,b:6/d?sslmode=disable&options=-c%20geqo%3Doff&target_session_attrs=any",
		"a service":     "service=blue servicefile=" + service + " options='-c geqo=off'",
	} {
		conninfo, env, err := libpq(dsn)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, want := range []string{"host='a,b' port='5,6' user='u' dbname='d'", "options='-c geqo=off -c DateStyle"} {
			if !strings.Contains(conninfo, want) || strings.Contains(conninfo, "secret") {
				t.Errorf("%s: command line %s\nwant %s", name, conninfo, want)
			}
		}
		if name == "a service" && (!slices.Contains(env, "PGSERVICEFILE="+service) || !strings.Contains(conninfo, "service='blue'")) {
			t.Errorf("%s: the file is not named: %s", name, conninfo)
		}
	}
	conninfo, _, err := libpq("host=/run/pg,/run/other port=5 dbname=d user=u sslmode=prefer")
	if err != nil || !strings.HasPrefix(conninfo, "host='/run/pg,/run/other' port='5,5'") {
		t.Errorf("sockets: %s, %v", conninfo, err)
	}
}
