package router

import (
	"context"
	"net/http"

	"github.com/tideover/tideover/plan"
)

// health answers GET /health: whether the router itself serves.
func (r *Router) health(w http.ResponseWriter, _ *http.Request) {
	if r.stopping.Load() {
		reply(w, http.StatusServiceUnavailable, map[string]string{"status": "stopping"})
		return
	}
	reply(w, http.StatusOK, map[string]string{"status": "ok"})
}

// healthOf answers GET /health/public and /health/admin: whether the serving side is ready on that listener. While the
// router drains or holds it is not asked: a health check that writes is refused by the fence, and no server is ill then.
func (r *Router) healthOf(w http.ResponseWriter, in *http.Request) {
	l := (*r.fronts.now.Load())[in.PathValue("listener")]
	switch {
	case l == nil:
		reply(w, http.StatusNotFound, map[string]string{"status": "no such listener: public or admin"})
	case r.stopping.Load():
		r.health(w, in)
	case r.gate.busy():
		reply(w, http.StatusOK, map[string]string{"status": "switching"})
	default:
		side := r.gate.serving()
		if !r.ready(in.Context(), l, side) && !r.gate.busy() {
			reply(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready", "side": string(side)})
			return
		}
		reply(w, http.StatusOK, map[string]string{"status": "ok", "side": string(side)})
	}
}

// ready asks a side at the profile's health path. Without one it is taken for ready.
func (r *Router) ready(ctx context.Context, l *listener, side plan.Side) bool {
	if l.profile.Health == "" {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, livingTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.profile.Health, nil)
	if err != nil {
		return false
	}
	l.aim(req.URL, side)
	resp, err := r.transports[side].RoundTrip(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
