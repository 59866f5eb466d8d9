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

// TestEditApp: a developer changes name, addresses and scopes of an app of their own, and nothing else of it.
func TestEditApp(t *testing.T) {
	t.Parallel()
	r := newRig(t, "2.0", nil)
	a := r.register(t, map[string]any{"client_name": "Calendar", "metadata": map[string]any{"mine": 1}, "contacts": []string{"me@example.com"}})
	b, root := r.as(t, "ann"), r.as(t, "root")
	seen := func() string { return seenShown.FindStringSubmatch(root.get("/admin").body)[1] }
	if p := root.send("/admin/apps/"+a.ID+"/verify", url.Values{"seen": {seen()}}); p.to != "/admin" {
		t.Fatalf("%d\n%s", p.status, p.body)
	}
	p := b.get("/apps/" + a.ID + "/edit")
	wellMade(t, "edit", p)
	for _, want := range []string{`value="Calendar"`, redirectURI, "<code><bdi>photos</bdi></code>", `name="seen"`} {
		if !strings.Contains(p.body, want) {
			t.Errorf("the page has no %q\n%s", want, p.body)
		}
	}
	if strings.Contains(p.body, `name="kind"`) {
		t.Error("the kind of an app can be changed")
	}
	form := url.Values{"name": {"Diary"}, "redirects": {"https://diary.example/"}, "scope": {"openid"}, "seen": {seen()}, "owner": {"bob"}, "kind": {"public"}}
	for name, change := range map[string]url.Values{"no name": {"name": {""}}, "an address that is none": {"redirects": {"javascript:alert(1)"}}, "a scope that cannot be chosen": {"scope": {"admin"}}} {
		wrong := url.Values{}
		for k, v := range form {
			wrong[k] = v
		}
		for k, v := range change {
			wrong[k] = v
		}
		if p := b.send("/apps/"+a.ID+"/edit", wrong); p.status != http.StatusBadRequest || !strings.Contains(p.body, `role="alert"`) || !strings.Contains(p.body, "/edit") {
			t.Errorf("%s: %d\n%s", name, p.status, p.body)
		}
	}
	for who, want := range map[string]int{"bob": 404, "root": 404} {
		other := r.as(t, who)
		if p := other.send("/apps/"+a.ID+"/edit", form); p.status != want {
			t.Errorf("%s edits the app: %d", who, p.status)
		}
		if p := other.get("/apps/" + a.ID + "/edit"); p.status != want {
			t.Errorf("%s sees the form: %d", who, p.status)
		}
	}
	if p := b.send("/apps/"+a.ID+"/edit", form); p.to != "/apps" {
		t.Fatalf("%d\n%s", p.status, p.body)
	}
	var now struct {
		Name      string         `json:"client_name"`
		Owner     string         `json:"owner"`
		Redirects []string       `json:"redirect_uris"`
		Scope     string         `json:"scope"`
		Method    string         `json:"token_endpoint_auth_method"`
		Contacts  []string       `json:"contacts"`
		Metadata  map[string]any `json:"metadata"`
	}
	if err := r.Call(t.Context(), "GET", "/clients/"+a.ID, nil, &now); err != nil {
		t.Fatal(err)
	}
	if now.Name != "Diary" || now.Owner != "ann" || len(now.Redirects) != 1 || now.Redirects[0] != "https://diary.example/" || now.Scope != "openid photos" ||
		now.Method != "client_secret_basic" || len(now.Contacts) != 1 || now.Metadata["mine"] == nil {
		t.Errorf("%+v", now)
	}
	if r.token(t, a, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}).Error != "invalid_grant" {
		t.Error("the secret is another")
	}
	if strings.Contains(b.get("/apps").body, "Verified by") {
		t.Error("another name is verified still")
	}
	// What has changed since the page was shown is not written over.
	if p := b.send("/apps/"+a.ID+"/edit", form); p.status != http.StatusConflict {
		t.Errorf("an old page: %d", p.status)
	}
}

// TestAuditPage shows administrators who did what, with the person's name and not the console's.
func TestAuditPage(t *testing.T) {
	t.Parallel()
	r := newRig(t, "2.0", nil)
	b, root := r.as(t, "bob"), r.as(t, "root")
	a := b.newApp(url.Values{"name": {"Calendar"}, "kind": {"web"}, "redirects": {redirectURI}, "scope": {"openid"}})
	evil := r.register(t, map[string]any{"client_name": "<script>x</script>"})
	root.send("/admin/apps/"+evil.ID+"/block", nil)
	root.send("/admin/apps/"+evil.ID+"/delete", url.Values{"sure": {"yes"}})
	p := root.get("/admin/audit")
	wellMade(t, "audit", p)
	for _, want := range []string{"create client", "<bdi>bob</bdi>", "register app", "(Calendar)", "block app", "delete client", "<bdi>root</bdi>", "<bdi>admin API</bdi>", "&lt;script&gt;", "127.0.0.1"} {
		if !strings.Contains(p.body, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if p := root.get("/admin/audit?client=" + a.ID + "&before=x"); strings.Contains(p.body, "block app") || !strings.Contains(p.body, "register app") {
		t.Errorf("of one app:\n%s", p.body)
	}
	if strings.Contains(p.body, a.Secret) {
		t.Error("a secret is shown")
	}
	for range 60 {
		r.register(t, nil)
	}
	first := root.get("/admin/audit")
	older := regexp.MustCompile(`href="(/admin/audit\?[^"]+)"`).FindStringSubmatch(first.body)
	if older == nil || strings.Contains(first.body, "register app") {
		t.Fatal("the page shows all at once")
	}
	if p := root.get(strings.ReplaceAll(older[1], "&amp;", "&")); !strings.Contains(p.body, "register app") {
		t.Errorf("the next page:\n%s", p.body)
	}
	if p := b.get("/admin/audit"); p.status != http.StatusForbidden {
		t.Errorf("shown to one who is no administrator: %d", p.status)
	}
	old := newRig(t, "1.1", nil)
	if p := old.as(t, "root").get("/admin/audit"); p.status != http.StatusOK || !strings.Contains(p.body, "keeps no record") {
		t.Errorf("%d\n%s", p.status, p.body)
	}
}
