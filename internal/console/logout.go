package console

import "net/http"

// logoutPage asks whether to log out: of the server, for a challenge that Hydra hands out, or of the console alone. The
// bundled server asks on a page of its own.
type logoutPage struct {
	Challenge string
	App       *appView
	Subject   string
}

func (c *Console) showLogout(v *visit) error {
	challenge := v.r.URL.Query().Get("logout_challenge")
	if challenge == "" {
		return c.show(v, http.StatusOK, "logout", logoutPage{Subject: v.user})
	}
	req, err := c.logoutRequest(v, challenge)
	if err != nil {
		return err
	}
	p := logoutPage{Challenge: challenge, Subject: req.Subject}
	if req.Client != nil {
		app := c.appView(*req.Client)
		p.App = &app
		v.leads = "https: http:" // the server goes on to an address that the app registered for this
	}
	v.leads += " " + originOf(c.config.Public)
	return c.show(v, http.StatusOK, "logout", p)
}

func (c *Console) logoutRequest(v *visit, challenge string) (logoutRequest, error) {
	var req logoutRequest
	err := c.api.question(v.r.Context(), "logout", challenge, &req)
	return req, err
}

func (c *Console) logout(v *visit) error {
	challenge, stay := v.form.Get("logout_challenge"), v.form.Get("choice") != "leave"
	if challenge == "" {
		if stay {
			return v.toOwn(ownPages[0])
		}
		c.leave(v)
		return v.toOwn("/login")
	}
	req, err := c.logoutRequest(v, challenge)
	if err != nil {
		return err
	}
	verdict := "accept"
	if stay {
		verdict = "reject"
	}
	to, err := c.api.answer(v.r.Context(), "logout", challenge, verdict, map[string]any{})
	if err != nil {
		return err
	}
	if !stay && v.user == req.Subject {
		c.leave(v)
	}
	if to == "" {
		return v.toOwn(ownPages[0])
	}
	return c.toServer(v, to)
}

func (c *Console) leave(v *visit) {
	if v.user != "" {
		c.audit(v, "log out", "")
	}
	c.sessions.end(v.cookie)
	c.enter(v, newID())
}
