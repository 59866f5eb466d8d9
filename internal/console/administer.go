package console

import (
	"net/http"
	"slices"
	"strings"
)

// adminPage is all apps by owner.
type adminPage struct {
	Owner  string // where one was asked for
	Owners []ownerApps
}

type ownerApps struct {
	Owner string
	Apps  []adminApp
}

// adminApp is an app with the fingerprint of what the administrator sees of it.
type adminApp struct {
	appView
	Seen string
}

func (c *Console) showAdmin(v *visit) error {
	p := adminPage{Owner: v.r.URL.Query().Get("owner")}
	all, err := c.api.clients(v.r.Context(), p.Owner)
	if err != nil {
		return err
	}
	by := map[string][]adminApp{}
	for _, a := range all {
		look, err := c.lookalikes(v.r.Context(), a)
		if err != nil {
			return err
		}
		app := adminApp{c.appView(a), fingerprint(a)}
		app.Warnings = look
		by[a.Owner] = append(by[a.Owner], app)
	}
	for owner, apps := range by {
		slices.SortFunc(apps, func(a, b adminApp) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
		p.Owners = append(p.Owners, ownerApps{owner, apps})
	}
	slices.SortFunc(p.Owners, func(a, b ownerApps) int { return strings.Compare(a.Owner, b.Owner) })
	p.Owner = visible(p.Owner)
	return c.show(v, http.StatusOK, "admin", p)
}

// mark changes what the console keeps of an app in its metadata, beside what others keep there, and looks whether the
// server has kept it.
func (c *Console) mark(v *visit, action string, change func(client, *marks) error) error {
	a, err := c.app(v)
	if err != nil {
		return err
	}
	want := marksOf(a)
	if err := change(a, &want); err != nil {
		return err
	}
	now, err := c.acting(v, action).change(v.r.Context(), a.ID, func(all map[string]any) {
		meta, ok := all["metadata"].(map[string]any)
		if !ok {
			meta = map[string]any{}
		}
		meta[metadataKey] = want
		all["metadata"] = meta
	})
	if err != nil {
		return err
	}
	if marksOf(now) != want {
		return &fault{status: http.StatusConflict, name: "nometadata"}
	}
	c.names.forget()
	c.audit(v, action, a.ID, "name", a.Name, "owner", a.Owner)
	return v.toOwn("/admin")
}

// verify holds for what the administrator saw: an app that has changed since is looked at again.
func (c *Console) verify(v *visit) error {
	return c.mark(v, "verify app", func(a client, m *marks) error {
		if v.form.Get("seen") != fingerprint(a) {
			return &fault{status: http.StatusConflict, name: "changed"}
		}
		m.Verified, m.By = fingerprint(a), v.user
		return nil
	})
}

func (c *Console) unverify(v *visit) error {
	return c.mark(v, "take verification back", func(_ client, m *marks) error { m.Verified, m.By = "", ""; return nil })
}

// block has these pages refuse every log-in and consent of the app. What it holds lives on: the server has no call that
// would suspend a client.
func (c *Console) block(v *visit) error {
	return c.mark(v, "block app", func(_ client, m *marks) error { m.Blocked = true; return nil })
}

func (c *Console) unblock(v *visit) error {
	return c.mark(v, "unblock app", func(_ client, m *marks) error { m.Blocked = false; return nil })
}

// endTokens deletes the app's access tokens. It gets new ones with the refresh tokens that it has.
func (c *Console) endTokens(v *visit) error {
	a, err := c.app(v)
	if err != nil {
		return err
	}
	if err := c.acting(v, "end access tokens").endTokens(v.r.Context(), a.ID); err != nil {
		return err
	}
	c.audit(v, "end access tokens", a.ID, "name", a.Name, "owner", a.Owner)
	return v.toOwn("/admin")
}

func (c *Console) deleteAnyApp(v *visit) error {
	a, err := c.app(v)
	if err != nil {
		return err
	}
	return c.deleteApp(v, a, "/admin")
}
