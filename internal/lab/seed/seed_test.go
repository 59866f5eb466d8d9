package seed_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/seed"
)

func TestSeedCounts(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	dsn := migrated(t)
	begun := time.Now()
	got, err := seed.Seed(t.Context(), dsn, seed.Options{Clients: 50, Sessions: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d tokens in %v", got.Tokens, time.Since(begun))
	conn := connect(t, dsn)
	for sql, want := range map[string]int{
		`SELECT count(*) FROM oauth_client`:                                                                   50,
		`SELECT count(*) FROM oauth_session`:                                                                  10_050,
		`SELECT count(*) FROM oauth_consent_handled WHERE error = '{}' AND was_used`:                          10_000,
		`SELECT count(*) FROM oauth_login_request WHERE subject = ''`:                                         10_100,
		`SELECT count(*) FROM oauth_login_handled WHERE error <> '{}' AND authenticated_at IS NULL`:           50,
		`SELECT count(*) FROM oauth_consent_handled WHERE error <> '{}' AND was_used`:                         50,
		`SELECT (SELECT count(*) FROM oauth_access) + (SELECT count(*) FROM oauth_refresh)`:                   got.Tokens,
		`SELECT count(*) FROM oauth_refresh WHERE active AND expires_at > now()`:                              got.Living,
		`SELECT count(*) FROM oauth_refresh r LEFT JOIN oauth_client c ON c.id = r.client_id WHERE c IS NULL`: 0,
	} {
		if n := count(t, conn, sql); n != want {
			t.Errorf("%s: %d, want %d", sql, n, want)
		}
	}
}

// TestOffendingStopsTheStockMigration looks for the rows themselves, and at what they do to the vendor's migration.
func TestOffendingStopsTheStockMigration(t *testing.T) {
	t.Parallel()
	dsn := migrated(t)
	got, err := seed.Seed(t.Context(), dsn, seed.Options{Clients: 3, Sessions: 20, Offending: true, Each: 2})
	if err != nil {
		t.Fatal(err)
	}
	conn := connect(t, dsn)
	for kind, sql := range map[string]string{
		"token-without-client": `SELECT count(DISTINCT request_id) FROM oauth_refresh r WHERE NOT EXISTS (SELECT 1 FROM oauth_client c WHERE c.id = r.client_id)`,
		"two-consents-of-one-login": `SELECT count(*) FROM (SELECT login_challenge FROM oauth_consent_request
			WHERE login_challenge IS NOT NULL GROUP BY 1 HAVING count(*) > 1) d`,
		"consent-without-login":      `SELECT count(*) FROM oauth_consent_request WHERE login_challenge IS NULL`,
		"oidc-context-nul":           `SELECT count(*) FROM oauth_login_request WHERE oidc_context LIKE '%\\u0000%'`,
		"auth-request-empty":         `SELECT count(*) FROM oauth_login_request WHERE auth_request = ''`,
		"login-context-cut":          `SELECT count(*) FROM oauth_login_handled WHERE context = '{"login_hint":"a'`,
		"session-access-token-empty": `SELECT count(*) FROM oauth_consent_handled WHERE session_access_token = ''`,
		"session-id-token-empty":     `SELECT count(*) FROM oauth_consent_handled WHERE session_id_token = ''`,
		"client-contacts-empty":      `SELECT count(*) FROM oauth_client_details WHERE contacts = ''`,
		"client-metadata-nul":        `SELECT count(*) FROM oauth_client_details WHERE metadata LIKE '%\\u0000%'`,
		"client-redirect-uris-nul":   `SELECT count(*) FROM oauth_client WHERE redirect_uris LIKE '%\\u0000%'`,
		"client-without-owner":       `SELECT count(*) FROM oauth_client WHERE owner = ''`,
	} {
		if n := count(t, conn, sql); n != 2 || got.Offending[kind] != 2 {
			t.Errorf("%s: %d rows, %d reported, want 2", kind, n, got.Offending[kind])
		}
	}
	if err := authserver.Migrate(t.Context(), dsn, "2.0"); err == nil || !strings.Contains(err.Error(), "20002") {
		t.Fatalf("the stock migration gave %v", err)
	}
}

func migrated(t *testing.T) string {
	t.Helper()
	dsn := pgtest.NewDatabase(t)
	if err := authserver.Migrate(t.Context(), dsn, "1.1"); err != nil {
		t.Fatal(err)
	}
	return dsn
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func count(t *testing.T, conn *pgx.Conn, sql string) int {
	t.Helper()
	var n int
	if err := conn.QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
