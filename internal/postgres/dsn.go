package postgres

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Redact is a DSN as it may be shown: postgres://user@host:port/database, and nothing else of it. It is built from the
// parts that Postgres would use rather than by taking the password out, so that no way of writing one can slip through.
func Redact(dsn string) string {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return "(unreadable connection string)"
	}
	u := url.URL{Scheme: "postgres", Path: "/" + cfg.Database}
	if cfg.User != "" {
		u.User = url.User(cfg.User)
	}
	if strings.HasPrefix(cfg.Host, "/") { // a folder with a Unix socket
		u.RawQuery = url.Values{"host": {cfg.Host}}.Encode()
	} else {
		u.Host = net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))
	}
	return u.String()
}

// InSchema is the DSN for a program that finds its tables in that schema by search_path; "" and "public" need nothing, and a DSN that
// has a search_path keeps it.
func InSchema(dsn, schema string) string {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil || schema == "" || schema == "public" || cfg.RuntimeParams["search_path"] != "" {
		return dsn
	}
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		return dsn + " search_path='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(ident(schema)) + "'"
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return dsn
	}
	q := u.Query()
	q.Set("search_path", ident(schema))
	u.RawQuery = q.Encode()
	return u.String()
}

// WithDatabase is the DSN, in URL or keyword form (Postgres manual 34.1.1), with another database in it: the same
// server, user and password. Its error never quotes the DSN.
func WithDatabase(dsn, database string) (string, error) {
	if _, err := pgx.ParseConfig(dsn); err != nil {
		return "", errors.New("the connection string can't be read")
	}
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		// Of two settings of one keyword the last one counts.
		return dsn + " dbname='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(database) + "'", nil
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return "", errors.New("the connection string is not a URL")
	}
	q := u.Query()
	q.Del("dbname")
	if strings.HasPrefix(database, "/") { // pgx takes all leading slashes off a path
		u.Path, u.RawPath = "/", ""
		q.Set("dbname", database)
	} else {
		u.Path, u.RawPath = "/"+database, "/"+url.PathEscape(database)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}
