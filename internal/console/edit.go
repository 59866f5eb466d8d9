package console

import (
	"net/http"
	"slices"
	"strings"
)

// filled is the form of an app that there is.
func (c *Console) filled(a client) appForm {
	f := c.blankApp()
	f.Name, f.Redirects, f.Public = a.Name, strings.Join(a.RedirectURIs, "\n"), a.AuthMethod == "none"
	for i, s := range f.Scopes {
		f.Scopes[i].Checked = slices.Contains(strings.Fields(a.Scope), s.Name)
	}
	return c.editing(f, a)
}

// editing makes a form one of an app that there is. Scopes that a person cannot choose, an administrator gave: they stay.
func (c *Console) editing(f appForm, a client) appForm {
	f.ID, f.Seen, f.Kept = a.ID, fingerprint(a), nil
	for _, s := range distinct(strings.Fields(a.Scope)) {
		if !slices.ContainsFunc(f.Scopes, func(o scopeView) bool { return o.Name == s }) {
			f.Kept = append(f.Kept, s)
		}
	}
	return f
}

func (c *Console) showEdit(v *visit) error {
	a, err := c.ownApp(v)
	if err != nil {
		return err
	}
	return c.show(v, http.StatusOK, "new", c.filled(a))
}

// editApp changes what people are shown of an app and where it sends them. Tokens and consents that there are live on; a
// scope that is taken away is gone from the next token. An app that was verified is so no more once its name or an address
// is another.
func (c *Console) editApp(v *visit) error {
	a, err := c.ownApp(v)
	if err != nil {
		return err
	}
	f, uris, scopes, err := c.readApp(v, a.AuthMethod == "none")
	if err != nil {
		return err
	}
	f = c.editing(f, a)
	if f.Name == a.Name { // it was right once, or an administrator's doing
		delete(f.Wrong, "name")
	}
	if len(f.Wrong) > 0 {
		return c.show(v, http.StatusBadRequest, "new", f)
	}
	if v.form.Get("seen") != f.Seen {
		return &fault{status: http.StatusConflict, name: "changed"}
	}
	_, err = c.acting(v, "edit app").change(v.r.Context(), a.ID, func(all map[string]any) {
		all["client_name"], all["redirect_uris"], all["scope"] = f.Name, uris, strings.Join(append(scopes, f.Kept...), " ")
	})
	if problem := refusedField(err); problem != "" {
		f.Wrong["server"] = text("new.refused", problem)
		return c.show(v, http.StatusBadRequest, "new", f)
	}
	if err != nil {
		return err
	}
	c.names.forget()
	c.audit(v, "edit app", a.ID, "name", f.Name, "redirect_uris", uris, "scopes", scopes)
	return v.toOwn("/apps")
}
