package console_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

var shown = regexp.MustCompile(`<code class="secret">([^<]+)</code>`)

// TestTwoSecrets: a developer changes an app's secret while the old one works on.
func TestTwoSecrets(t *testing.T) {
	t.Parallel()
	r := newRig(t, "1.1", nil)
	a := r.register(t, nil)
	b := r.as(t, "ann")
	if p := b.send("/apps/"+a.ID+"/secret", url.Values{"keep": {"yes"}}); p.to != "/apps" {
		t.Fatalf("%d\n%s", p.status, p.body)
	}
	p := b.get("/apps")
	wellMade(t, "apps", p)
	m := shown.FindStringSubmatch(p.body)
	if m == nil || !strings.Contains(p.body, "Old secret works until") {
		t.Fatalf("no secret is shown:\n%s", p.body)
	}
	works := func(secret string) bool {
		return r.token(t, app{a.ID, secret}, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}).Error == "invalid_grant"
	}
	if !works(a.Secret) || !works(m[1]) {
		t.Error("one of the two secrets does not work")
	}
	if strings.Contains(b.get("/apps").body, m[1]) || strings.Contains(r.audit.String(), m[1]) {
		t.Error("the secret is shown again")
	}
	if p := b.send("/apps/"+a.ID+"/secret", nil); p.to != "/apps" || works(a.Secret) || works(m[1]) {
		t.Error("an old secret outlives a new one that was to take its place")
	}
	// Not every server keeps old ones.
	own := map[string]any{"client_id": "c", "owner": "ann", "token_endpoint_auth_method": "client_secret_basic"}
	_, old := newHydra(t, map[string]any{"GET /clients/c": own}, nil)
	if p := old.as(t, "ann").send("/apps/c/secret", url.Values{"keep": {"yes"}}); p.status != http.StatusConflict || !strings.Contains(p.body, "keeps no old secrets") {
		t.Errorf("%d\n%s", p.status, p.body)
	}
}
