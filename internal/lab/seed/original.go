package seed

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// isOriginal: the database has the schema of 1.0.
func isOriginal(ctx context.Context, conn *pgx.Conn) (is bool, err error) {
	err = conn.QueryRow(ctx, `SELECT pg_catalog.to_regclass('oauth_client_details') IS NULL`).Scan(&is)
	return is, err
}

// original lays the rows of 1.1 out as 1.0 has them: what an app says of itself stands with the app, and a consent
// doesn't know how its person logged in.
func original(t table, rows map[string][][]any) (table, [][]any) {
	list := rows[t.name]
	switch t.name {
	case "oauth_client":
		t.columns = append(append([]string(nil), t.columns...), "contacts", "metadata")
		for i, details := range rows["oauth_client_details"] {
			list[i] = append(list[i], details[1:]...)
		}
	case "oauth_client_details":
		return t, nil
	case "oauth_consent_request":
		t.columns = t.columns[:len(t.columns)-1]
		for i := range list {
			list[i] = list[i][:len(t.columns)]
		}
	}
	return t, list
}
