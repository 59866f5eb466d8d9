package authserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/tideover/tideover/internal/authserver/schema"
	"github.com/tideover/tideover/internal/authserver/store"
)

// poll is how often a server that is not ready looks at its schema again.
const poll = 200 * time.Millisecond

// Run waits until the database has the generation's schema, loads or makes the signing key, and from then on serves;
// ready is called once. It ends when ctx does, with nil, or earlier with an error that waiting cannot mend.
func (s *Server) Run(ctx context.Context, ready func()) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		err := s.prepare(ctx)
		if err == nil {
			break
		}
		var key *KeyError
		if errors.As(err, &key) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	ready()
	s.followKeys(ctx)
	return nil
}

// followKeys reads the signing keys again and again, so that a new one is published everywhere soon after it was made. What
// goes wrong with that leaves the keys as they are.
func (s *Server) followKeys(ctx context.Context) {
	tick := time.NewTicker(s.config.KeysEvery)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		ring, err := s.keysAgain(ctx)
		var key *KeyError
		switch {
		case err == nil:
			s.keys.Store(ring)
		case errors.As(err, &key) && key.ID != said:
			said = key.ID
			slog.Error("a signing key cannot be read; the keys stay as they are", "key", key.ID, "cause", key.Err)
		}
	}
}

func (s *Server) keysAgain(ctx context.Context) (*keyring, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return s.loadKeys(ctx, func() (store.Key, error) { return store.Key{}, errors.New("the keys are gone") })
}

func (s *Server) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := s.checkSchema(ctx); err != nil {
		return err
	}
	ring, err := s.loadKeys(ctx, s.config.newKey)
	if err != nil {
		return err
	}
	s.keys.Store(ring)
	return nil
}

// checkSchema compares goose's own record with what the generation wants: neither older nor newer will do.
func (s *Server) checkSchema(ctx context.Context) error {
	want, err := schema.Target(s.config.Generation)
	if err != nil {
		return err
	}
	var have int64
	const sql = `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`
	if err := s.pool.QueryRow(ctx, sql).Scan(&have); err != nil {
		return err
	}
	if have != want {
		return fmt.Errorf("the schema has version %d, generation %s wants %d", have, s.config.Generation, want)
	}
	return nil
}

// health answers /health/alive and /health/ready. A server that has been ready asks only whether the database answers:
// a live migration under it must not take it out of service.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/health/alive":
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	case "/health/ready":
		if s.keys.Load() == nil {
			writeError(w, errNotReady)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		if err := s.pool.Ping(ctx); err != nil {
			writeError(w, &oauthError{Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable",
				Description: "the database does not answer"})
			return
		}
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	default:
		http.NotFound(w, r)
	}
}
