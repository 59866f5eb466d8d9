package plan

import (
	"net/url"
	"slices"
	"strings"
)

// checkSides looks at the connection strings and URLs. None of its messages shows one.
func (d *decoder) checkSides(rb *Runbook) {
	if _, given := d.places["blue"]; given && rb.Blue.DSN == "" {
		d.add("blue.dsn", "every run needs the database in use", "missing")
	}
	cutover := rb.Step(Cutover) != nil
	if rb.Green.DSN == "" && slices.ContainsFunc(rb.Steps, func(s StepSpec) bool { return needsGreen(momentOf(s)) }) {
		d.add("green.dsn", "name an empty database for the successor", "missing")
	}
	for _, side := range []struct {
		name string
		Service
	}{{"blue", rb.Blue}, {"green", rb.Green}} {
		d.checkDSN(side.name+".dsn", side.DSN)
		for _, u := range []struct{ name, value string }{{"public", side.Public}, {"admin", side.Admin}} {
			path := side.name + "." + u.name
			if _, given := d.places[side.name]; given && u.value == "" && cutover {
				d.add(path, "a cutover asks both servers; a server with one listener has the same URL twice", "missing")
			}
			d.checkURL(path, u.value)
		}
	}
	d.checkDSN("control.dsn", rb.Control.DSN)
	if a, b := address(rb.Blue.DSN), address(rb.Green.DSN); a != "" && a == b {
		d.add("green.dsn", "green is another database, empty before the run", "is the same database as blue.dsn")
	}
	if rb.Router != nil {
		for i, u := range rb.Router.Admin {
			path := item("router.admin", i)
			if u == "" {
				d.add(path, "", "must not be empty")
			}
			d.checkURL(path, u)
		}
	}
	if rb.Locks.Retry < rb.Locks.Timeout {
		d.add("locks.retry", "it says how long attempts of locks.timeout go on", "is shorter than one attempt (%s)", rb.Locks.Timeout)
	}
}

// checkDSN takes the two forms of libpq: a URL and key=value pairs
// (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING).
func (d *decoder) checkDSN(path, dsn string) {
	const way = `such as "postgres://user:password@host:5432/database" or "host=… dbname=…"; a /, @, : or % in a password is written %2F, %40, %3A, %25`
	if dsn == "" || strings.Contains(dsn, unresolved) {
		return
	}
	if !strings.Contains(dsn, "://") {
		if !strings.Contains(dsn, "=") {
			d.add(path, way, "is not a Postgres connection string")
		}
		return
	}
	if strings.HasPrefix(dsn, "cockroach") {
		d.add(path, "the vendor's own migration is for it; tideover needs triggers, snapshots and replication as Postgres has them", "is of CockroachDB, and only Postgres can be upgraded")
		return
	}
	u, err := url.Parse(dsn) // its error has the password in it
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		d.add(path, way, "is not a Postgres connection string")
	}
}

// checkURL takes base URLs.
func (d *decoder) checkURL(path, text string) {
	if text == "" || strings.Contains(text, unresolved) {
		return
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		d.add(path, "such as http://127.0.0.1:4444", "is not a base URL")
		return
	}
	if u.User != nil {
		d.add(path, "leave user and password out: URLs are shown", "has a password in it")
	}
}

// address is what makes two connection strings the same database; empty if that can't be told.
func address(dsn string) string {
	if !strings.Contains(dsn, "://") {
		return strings.Join(strings.Fields(dsn), " ")
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = "5432"
	}
	host := u.Hostname()
	if h := u.Query().Get("host"); h != "" {
		host = h
	}
	if p := u.Query().Get("port"); p != "" {
		port = p
	}
	return strings.Join([]string{host, port, strings.TrimPrefix(u.Path, "/"), u.Query().Get("dbname")}, "\x00")
}
