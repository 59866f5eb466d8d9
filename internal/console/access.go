package console

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// grantView is what one app may do for the person.
type grantView struct {
	App      appView
	Scopes   []Scope
	Audience []string
	Since    time.Time // zero where the server does not say
}

// showAccess lists the apps that the person gave access to, the newest first.
func (c *Console) showAccess(v *visit) error {
	given, err := c.api.consents(v.r.Context(), v.user)
	if err != nil {
		return err
	}
	var out []*grantView
	for _, g := range given {
		app := c.appView(g.Request.Client)
		i := slices.IndexFunc(out, func(o *grantView) bool { return o.App.ID == app.ID })
		if i < 0 {
			out, i = append(out, &grantView{App: app}), len(out)
		}
		o := out[i]
		for _, s := range g.GrantScope {
			if !slices.ContainsFunc(o.Scopes, func(have Scope) bool { return have.Name == s }) {
				o.Scopes = append(o.Scopes, c.config.Catalogue.scope(s))
			}
		}
		o.Audience = distinct(append(o.Audience, g.Audience...))
		if g.HandledAt != nil && (o.Since.IsZero() || g.HandledAt.Before(o.Since)) {
			o.Since = *g.HandledAt
		}
	}
	return c.show(v, http.StatusOK, "access", out)
}

// revoke takes an app's access back. The subject is always who is logged in: no form names another.
func (c *Console) revoke(v *visit) error {
	app := v.form.Get("client")
	if app == "" {
		return &fault{status: http.StatusBadRequest, name: "form"}
	}
	if err := c.acting(v, "revoke").revoke(v.r.Context(), v.user, app); err != nil {
		return err
	}
	c.audit(v, "revoke", app)
	return v.toOwn("/access")
}

func (c *Console) revokeAll(v *visit) error {
	if err := c.acting(v, "revoke all").revoke(v.r.Context(), v.user, ""); err != nil {
		return err
	}
	c.audit(v, "revoke all", "")
	return v.toOwn("/access")
}

// forgetMe has the server forget every browser in which the person stays logged in. What apps hold lives on.
func (c *Console) forgetMe(v *visit) error {
	if err := c.acting(v, "end remembered logins").endLogins(v.r.Context(), v.user); err != nil {
		return err
	}
	c.audit(v, "end remembered logins", "")
	return v.toOwn("/access")
}

// appForm is the form of a new app, with what is wrong in each field.
type appForm struct {
	Name, Redirects string
	Public          bool
	Scopes          []scopeView
	Wrong           map[string]string
	ID, Seen        string   // of an app that there is, with its fingerprint
	Kept            []string // scopes of it that a person cannot choose
}

const (
	mostRedirects = 10
	mostApps      = 50
	longestName   = 60
)

func (c *Console) blankApp() appForm {
	f := appForm{Wrong: map[string]string{}}
	for _, name := range c.config.Catalogue.names() {
		if s := c.config.Catalogue.scope(name); !s.Restricted {
			f.Scopes = append(f.Scopes, scopeView{s, s.Required})
		}
	}
	return f
}

// readApp reads and checks the form; the redirect URIs come back one by one.
func (c *Console) readApp(v *visit, public bool) (f appForm, uris, scopes []string, err error) {
	f = c.blankApp()
	f.Name, f.Redirects = strings.TrimSpace(v.form.Get("name")), strings.TrimSpace(v.form.Get("redirects"))
	f.Public = public
	if f.Wrong["name"], err = c.nameFault(v, f.Name); err != nil {
		return f, nil, nil, err
	}
	uris = distinct(strings.Fields(f.Redirects))
	switch {
	case len(uris) == 0:
		f.Wrong["redirects"] = text("new.redirects.none")
	case len(uris) > mostRedirects:
		f.Wrong["redirects"] = text("new.redirects.many", mostRedirects)
	}
	for _, uri := range uris {
		if key := redirectFault(uri, f.Public); key != "" && f.Wrong["redirects"] == "" {
			f.Wrong["redirects"] = text("new.redirects.wrong", visible(uri), text(key))
		}
	}
	offered := 0
	wanted := distinct(v.form["scope"])
	for i, s := range f.Scopes {
		f.Scopes[i].Checked = slices.Contains(wanted, s.Name)
		if f.Scopes[i].Checked {
			scopes, offered = append(scopes, s.Name), offered+1
		}
	}
	switch {
	case offered < len(wanted):
		f.Wrong["scopes"] = text("new.scopes.other")
	case offered == 0:
		f.Wrong["scopes"] = text("new.scopes.none")
	}
	for field, problem := range f.Wrong {
		if problem == "" {
			delete(f.Wrong, field)
		}
	}
	return f, uris, scopes, nil
}

// nameFault says what is wrong with an app's name, or "". Nobody registers one that is made to be taken for another.
func (c *Console) nameFault(v *visit, name string) (string, error) {
	switch {
	case name == "" || skeleton(name) == "":
		return text("new.name.none"), nil
	case len([]rune(name)) > longestName:
		return text("new.name.long", longestName), nil
	case hidden(name) || visible(name) != name:
		return text("new.name.hidden"), nil
	case mixed(name):
		return text("new.name.mixed"), nil
	case skeleton(name) == skeleton(c.config.Title):
		return text("new.name.us"), nil
	}
	others, err := c.names.alike(v.r.Context(), name)
	if err != nil {
		return "", err
	}
	for _, o := range others {
		if verified(o) && o.Owner != v.user {
			return text("new.name.taken"), nil
		}
	}
	return "", nil
}
