package authserver

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"
)

// TestPushedRequestsExpire: a request_uri serves for a while, under the secret that sealed it.
func TestPushedRequestsExpire(t *testing.T) {
	t.Parallel()
	ours, others := &Server{config: Config{SystemSecret: "a secret of the tests"}}, &Server{config: Config{SystemSecret: "another secret of the tests"}}
	for _, tt := range []struct {
		name   string
		server *Server
		until  time.Duration
		want   int
	}{{"fresh", ours, time.Hour, 200}, {"too old", ours, -time.Second, 400}, {"of another system", others, time.Hour, 400}} {
		uri := tt.server.requestURI(pushed{Client: "app", Request: "client_id=app&scope=openid", Until: time.Now().Add(tt.until)})
		r := httptest.NewRequest(http.MethodPost, pathAuth+"?"+url.Values{"client_id": {"app"}, "request_uri": {uri}, "scope": {"admin"}}.Encode(), nil)
		w := httptest.NewRecorder()
		ours.unwrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if err := r.ParseForm(); err != nil || r.Method != http.MethodGet || r.Form.Encode() != "client_id=app&scope=openid" {
				t.Errorf("%s: %s %v %v", tt.name, r.Method, r.Form, err)
			}
		})).ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, w.Code, tt.want)
		}
	}
}
