package authserver_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/thirdparty"
)

// logged takes the log of every server, at its most talkative; TestNoSecretLeaves reads it.
var logged journal

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})))
	os.Exit(pgtest.RunTests(m))
}

// running is a server on a database of its own.
type running struct {
	thirdparty.Target
	dsn        string
	generation string
	server     *authserver.Server
}

// serve migrates a new database and starts a server on it.
func serve(t *testing.T, generation string, change func(*authserver.Config)) running {
	t.Helper()
	dsn := pgtest.NewDatabase(t)
	if err := authserver.Migrate(t.Context(), dsn, generation); err != nil {
		t.Fatal(err)
	}
	return serveOn(t, dsn, generation, change)
}

func serveOn(t *testing.T, dsn, generation string, change func(*authserver.Config)) running {
	t.Helper()
	var public, admin http.Handler
	publicServer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { public.ServeHTTP(w, r) }))
	adminServer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { admin.ServeHTTP(w, r) }))
	config := authserver.Config{Generation: generation, DSN: dsn, Issuer: publicServer.URL, SystemSecret: "a secret of the tests",
		LoginURL: "http://127.0.0.1:2/login", ConsentURL: "http://127.0.0.1:2/consent", DeviceURL: "http://127.0.0.1:2/device", BcryptCost: 4}
	if change != nil {
		change(&config)
	}
	s, err := authserver.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	public, admin = s.Public(), s.Admin()
	ctx, stop := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.Run(ctx, func() { close(ready) }) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		publicServer.Close()
		adminServer.Close()
		s.Close()
	})
	select {
	case <-ready:
	case <-time.After(30 * time.Second):
		t.Fatal("the server does not get ready")
	}
	prefix := ""
	if generation == "2.0" {
		prefix = "/admin"
	}
	return running{server: s, dsn: dsn, generation: generation, Target: thirdparty.Target{Issuer: config.Issuer, Public: publicServer.URL,
		Admin: adminServer.URL, AdminPrefix: prefix}}
}

// TestThirdParty needs nothing but the two libraries to trust the server.
func TestThirdParty(t *testing.T) {
	t.Parallel()
	for _, generation := range quick.First(t, 1, []string{"1.0", "1.1", "2.0"}) {
		t.Run(generation, func(t *testing.T) {
			t.Parallel()
			thirdparty.Exercise(t.Context(), t, serve(t, generation, nil).Target)
		})
	}
}
