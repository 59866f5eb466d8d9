package console

import (
	"net/http"
	"strings"
)

// appsPage is what somebody registered, with a secret where one has just been made.
type appsPage struct {
	Apps   []appView
	Secret *shownSecret
}

// showApps lists the person's apps. A new secret is shown by the first look at it, and by no other.
func (c *Console) showApps(v *visit) error {
	own, err := c.ownApps(v)
	if err != nil {
		return err
	}
	p := appsPage{Secret: c.sessions.takeSecret(v.cookie)}
	for _, a := range own {
		p.Apps = append(p.Apps, c.appView(a))
	}
	return c.show(v, http.StatusOK, "apps", p)
}

// ownApps asks for one owner's, and looks again: a server that did not know the filter would answer with everybody's.
func (c *Console) ownApps(v *visit) ([]client, error) {
	all, err := c.api.clients(v.r.Context(), v.user)
	var own []client
	for _, a := range all {
		if a.Owner == v.user {
			own = append(own, a)
		}
	}
	return own, err
}

func (c *Console) showNewApp(v *visit) error { return c.show(v, http.StatusOK, "new", c.blankApp()) }

func (c *Console) createApp(v *visit) error {
	f, uris, scopes, err := c.readApp(v, v.form.Get("kind") == "public")
	if err != nil {
		return err
	}
	own, err := c.ownApps(v)
	if err != nil {
		return err
	}
	if len(own) >= mostApps {
		f.Wrong["name"] = text("new.many", mostApps)
	}
	if len(f.Wrong) > 0 {
		return c.show(v, http.StatusBadRequest, "new", f)
	}
	method, secret := "client_secret_basic", newID()
	body := map[string]any{"client_name": f.Name, "owner": v.user, "redirect_uris": uris, "scope": strings.Join(scopes, " "),
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"}}
	if f.Public {
		method = "none"
	} else {
		body["client_secret"] = secret
	}
	body["token_endpoint_auth_method"] = method
	var made client
	if _, err := c.acting(v, "register app").call(v.r.Context(), http.MethodPost, "/clients", nil, body, &made); err != nil {
		if problem := refusedField(err); problem != "" {
			f.Wrong["server"] = text("new.refused", problem)
			return c.show(v, http.StatusBadRequest, "new", f)
		}
		return err
	}
	c.names.forget()
	c.audit(v, "register app", made.ID, "name", f.Name, "redirect_uris", uris, "scopes", scopes, "public", f.Public)
	if f.Public {
		secret = ""
	}
	c.sessions.keepSecret(v.cookie, shownSecret{made.ID, f.Name, secret})
	return v.toOwn("/apps")
}

// ownApp is the app of the path, where it is the person's. Of another's they learn no more than of one that is not there.
func (c *Console) ownApp(v *visit) (client, error) {
	a, err := c.app(v)
	if err == nil && a.Owner != v.user {
		err = &fault{status: http.StatusNotFound, name: "noapp"}
	}
	return a, err
}

// app is the app of the path.
func (c *Console) app(v *visit) (client, error) {
	a, err := c.api.client(v.r.Context(), v.r.PathValue("id"))
	if missing(err) || refusedField(err) != "" || err == nil && a.ID != v.r.PathValue("id") {
		err = &fault{status: http.StatusNotFound, name: "noapp", cause: err}
	}
	return a, err
}

// renewSecret gives the app a new secret. The old one is worth nothing from then on, or, where that was asked for and the
// server can, a day later.
func (c *Console) renewSecret(v *visit) error {
	a, err := c.ownApp(v)
	if err != nil {
		return err
	}
	if a.AuthMethod == "none" || a.AuthMethod == "private_key_jwt" {
		return &fault{status: http.StatusBadRequest, name: "nosecret"}
	}
	if v.form.Get("keep") != "" {
		secret, err := c.acting(v, "rotate secret").rotate(v.r.Context(), a.ID)
		if err != nil {
			return err
		}
		c.audit(v, "rotate secret", a.ID)
		c.sessions.keepSecret(v.cookie, shownSecret{a.ID, visible(a.Name), secret})
		return v.toOwn("/apps")
	}
	secret := newID()
	if _, err := c.acting(v, "renew secret").change(v.r.Context(), a.ID, func(all map[string]any) { all["client_secret"] = secret }); err != nil {
		return err
	}
	c.audit(v, "renew secret", a.ID)
	c.sessions.keepSecret(v.cookie, shownSecret{a.ID, visible(a.Name), secret})
	return v.toOwn("/apps")
}

func (c *Console) deleteOwnApp(v *visit) error {
	a, err := c.ownApp(v)
	if err != nil {
		return err
	}
	return c.deleteApp(v, a, "/apps")
}

// deleteApp wants the box ticked that says what is lost.
func (c *Console) deleteApp(v *visit, a client, back string) error {
	if v.form.Get("sure") == "" {
		return &fault{status: http.StatusBadRequest, name: "unsure"}
	}
	path, err := pathOf(a.ID)
	if err == nil {
		_, err = c.acting(v, "delete app").call(v.r.Context(), http.MethodDelete, path, nil, nil, nil)
	}
	if err != nil && !missing(err) {
		return err
	}
	c.names.forget()
	c.audit(v, "delete app", a.ID, "name", a.Name, "owner", a.Owner)
	return v.toOwn(back)
}
