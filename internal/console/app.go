package console

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// appView is an app as a page shows it.
type appView struct {
	ID, Name, Owner string
	Verified        bool
	Blocked         bool
	Since           time.Time // zero where the server does not say
	Links           []link    // that the app gives of itself
	Scopes          []string
	Redirects       []string
	Public          bool
	Secretless      bool      // it signs with a key of its own, or is public
	OldSecret       time.Time // until when the secret before the last works
	Warnings        []string
}

type link struct{ Text, URL string }

func (c *Console) appView(a client) appView {
	v := appView{ID: a.ID, Name: visible(a.Name), Owner: visible(a.Owner), Verified: verified(a), Blocked: blocked(a), Since: a.CreatedAt,
		Scopes: strings.Fields(a.Scope), Redirects: a.RedirectURIs, Public: a.AuthMethod == "none"}
	v.Secretless = v.Public || a.AuthMethod == "private_key_jwt"
	if a.OldSecret > 0 {
		v.OldSecret = time.Unix(a.OldSecret, 0)
	}
	if v.Name == "" {
		v.Name = a.ID
	}
	// The logo is a link: a picture from its address would tell the app of each visitor before they have agreed to
	// anything, and could show somebody else's mark.
	for _, l := range []struct{ key, url string }{{"app.website", a.URI}, {"app.logo", a.LogoURI}, {"app.policy", a.PolicyURI}, {"app.terms", a.TermsURI}} {
		if u, err := url.Parse(l.url); err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil {
			v.Links = append(v.Links, link{text(l.key), l.url})
		}
	}
	if !v.Verified {
		v.Warnings = append(v.Warnings, text("warn.unverified"))
	}
	if age := c.config.Now().Sub(a.CreatedAt); !a.CreatedAt.IsZero() && age < c.config.Young {
		v.Warnings = append(v.Warnings, text("warn.young", a.CreatedAt.UTC().Format(time.DateOnly)))
	}
	return v
}

// marks are what the console keeps in a client's metadata, under a key of its own.
type marks struct {
	Verified string `json:"verified,omitempty"` // fingerprint of what was looked at
	By       string `json:"verified_by,omitempty"`
	Blocked  bool   `json:"blocked,omitempty"`
}

const metadataKey = "tideover_console"

func marksOf(a client) marks {
	var all map[string]json.RawMessage
	var m marks
	if json.Unmarshal(a.Metadata, &all) == nil {
		_ = json.Unmarshal(all[metadataKey], &m) // what somebody else wrote there marks nothing
	}
	return m
}

// verified tells whether an administrator has looked at the app as it is: with another name, owner or redirect URI, it is
// another app.
func verified(a client) bool {
	m := marksOf(a)
	return m.Verified != "" && m.Verified == fingerprint(a)
}

func blocked(a client) bool { return marksOf(a).Blocked }

func fingerprint(a client) string {
	uris := slices.Sorted(slices.Values(a.RedirectURIs))
	text, err := json.Marshal([]any{a.Name, a.Owner, uris, a.AuthMethod})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// targets is where the answer will go: the redirect URI of the request where the app registered it, or else all that it
// registered.
func targets(a client, requestURL string) []string {
	if forDevice(requestURL) {
		return nil
	}
	if u, err := url.Parse(requestURL); err == nil {
		wanted := u.Query().Get("redirect_uri")
		if slices.ContainsFunc(a.RedirectURIs, func(r string) bool { return r == wanted || loopbackAlike(r, wanted) }) {
			return []string{wanted}
		}
	}
	return a.RedirectURIs
}

var loopbackPort = regexp.MustCompile(`^(http://(?:127\.0\.0\.1|\[::1\]))(?::[0-9]+)?([/?].*)?$`)

// loopbackAlike tells addresses of this machine apart from all but their port (RFC 8252, section 7.3).
func loopbackAlike(a, b string) bool {
	x, y := loopbackPort.FindStringSubmatch(a), loopbackPort.FindStringSubmatch(b)
	return x != nil && y != nil && x[1] == y[1] && x[2] == y[2]
}

// hosts is what of redirect URIs a person can judge: the host, or for an app on the device its scheme.
func hosts(uris []string) []string {
	var out []string
	for _, uri := range uris {
		u, err := url.Parse(uri)
		switch {
		case err != nil || !u.IsAbs():
			continue
		case u.Scheme == "http" && (u.Hostname() == "localhost" || strings.HasPrefix(u.Hostname(), "127.") || u.Hostname() == "::1"):
			out = append(out, text("target.machine", u.Host))
		case u.Scheme == "http":
			out = append(out, text("target.open", visible(u.Host)))
		case u.Scheme == "https":
			out = append(out, visible(u.Host))
		default:
			out = append(out, text("target.device", u.Scheme))
		}
	}
	return distinct(out)
}

// leadsTo is where a form of a challenge's page may lead: browsers hold form-action against every redirect behind the
// answer, those of the app's own site included. So it is the server and the scheme of the app's address; what is parsed
// as one has no character that would begin another directive.
func (c *Console) leadsTo(a client, requestURL string) string {
	leads := []string{originOf(c.config.Public)}
	for _, uri := range targets(a, requestURL) {
		if u, err := url.Parse(uri); err == nil && u.Scheme != "" {
			leads = append(leads, u.Scheme+":")
		}
	}
	return strings.Join(distinct(leads), " ")
}

// directory is all apps by what their names look like, read again each minute.
type directory struct {
	api  *api
	now  func() time.Time
	mu   sync.Mutex
	read time.Time
	apps map[string][]client
}

func newDirectory(a *api, now func() time.Time) *directory { return &directory{api: a, now: now} }

const directoryAge = time.Minute

func (d *directory) alike(ctx context.Context, name string) ([]client, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.now().Sub(d.read) > directoryAge {
		all, err := d.api.clients(ctx, "")
		if err != nil {
			return nil, err
		}
		d.apps, d.read = map[string][]client{}, d.now()
		for _, a := range all {
			d.apps[skeleton(a.Name)] = append(d.apps[skeleton(a.Name)], a)
		}
	}
	return d.apps[skeleton(name)], nil
}

// forget has the next look read the apps again.
func (d *directory) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.read = time.Time{}
}

// lookalikes warns of a name that another owner's app has, or that is made to be taken for another. An app that an
// administrator has verified is the one that others imitate.
func (c *Console) lookalikes(ctx context.Context, a client) ([]string, error) {
	if verified(a) {
		return nil, nil
	}
	var out []string
	if hidden(a.Name) {
		out = append(out, text("warn.hidden"))
	}
	if mixed(a.Name) {
		out = append(out, text("warn.mixed"))
	}
	if s := skeleton(a.Name); s != "" && s == skeleton(c.config.Title) {
		out = append(out, text("warn.us", c.config.Title))
	}
	others, err := c.names.alike(ctx, a.Name)
	if err != nil || skeleton(a.Name) == "" {
		return out, err
	}
	for _, key := range []struct {
		text     string
		verified bool
	}{{"warn.imitates", true}, {"warn.same", false}} {
		for _, o := range others {
			if o.ID != a.ID && (o.Owner != a.Owner || o.Owner == "" || notNames[o.Owner]) && verified(o) == key.verified {
				return append(out, text(key.text, fmt.Sprintf("%q", visible(o.Name)))), nil
			}
		}
	}
	return out, nil
}
