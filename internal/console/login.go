package console

import (
	"errors"
	"net/http"
	"strings"
)

// loginPage is what the log-in page shows.
type loginPage struct {
	Challenge, Next string
	App             *appView // nil for a log-in to the console itself
	Name            string   // what was typed, or what the app expects
	Fault           string
}

// showLogin asks for name and password, unless the server knows the browser: then it is told at once to go on with whom
// it knows.
func (c *Console) showLogin(v *visit) error {
	q := v.r.URL.Query()
	challenge := q.Get("login_challenge")
	if challenge == "" {
		if v.user != "" {
			return v.toOwn(next(q.Get("next")))
		}
		return c.show(v, http.StatusOK, "login", loginPage{Next: next(q.Get("next"))})
	}
	req, err := c.loginRequest(v, challenge)
	if err != nil {
		return err
	}
	if !req.Skip {
		return c.askLogin(v, http.StatusOK, req, loginPage{Name: plainName(req.OIDCContext.LoginHint)})
	}
	if blocked(req.Client) {
		return c.refuse(v, "login", challenge, req.Client, "access_denied", text("reject.blocked"))
	}
	if _, ok := c.config.Users.mark(req.Subject); !ok { // taken out of the users file, whatever the server remembers
		if err := c.api.endLogins(v.r.Context(), req.Subject); err != nil {
			return err
		}
		return c.refuse(v, "login", challenge, req.Client, "access_denied", text("reject.gone"))
	}
	return c.acceptLogin(v, challenge, req.Client, map[string]any{"subject": req.Subject})
}

func (c *Console) loginRequest(v *visit, challenge string) (loginRequest, error) {
	var req loginRequest
	err := c.api.question(v.r.Context(), "login", challenge, &req)
	return req, err
}

func (c *Console) askLogin(v *visit, status int, req loginRequest, p loginPage) error {
	app := c.appView(req.Client)
	p.App, p.Challenge = &app, req.Challenge
	v.leads = c.leadsTo(req.Client, req.RequestURL)
	return c.show(v, status, "login", p)
}

// plainName is a name that a user could have, or "".
func plainName(name string) string {
	if name = strings.ToLower(strings.TrimSpace(name)); userName.MatchString(name) {
		return name
	}
	return ""
}

// login takes the form: of the console's own log-in, or of a challenge.
func (c *Console) login(v *visit) error {
	challenge := v.form.Get("login_challenge")
	var req loginRequest
	if challenge != "" {
		var err error
		if req, err = c.loginRequest(v, challenge); err != nil {
			return err
		}
		if v.form.Get("choice") == "cancel" {
			return c.refuse(v, "login", challenge, req.Client, "access_denied", text("reject.login"))
		}
		if blocked(req.Client) {
			return c.refuse(v, "login", challenge, req.Client, "access_denied", text("reject.blocked"))
		}
	}
	p := loginPage{Name: plainName(v.form.Get("name")), Next: next(v.form.Get("next"))}
	again := func(status int, fault string) error {
		p.Fault = text(fault)
		if challenge != "" {
			return c.askLogin(v, status, req, p)
		}
		return c.show(v, status, "login", p)
	}
	right, err := c.password(v, p.Name, v.form.Get("password"))
	switch {
	case errors.Is(err, errThrottled):
		v.w.Header().Set("Retry-After", "30")
		return again(http.StatusTooManyRequests, "login.throttled")
	case err != nil:
		return err
	case !right:
		return again(http.StatusUnauthorized, "login.wrong")
	case challenge != "" && req.Skip && req.Subject != p.Name: // the server would refuse anybody else
		return again(http.StatusConflict, "login.other")
	}
	c.begin(v, p.Name)
	if challenge == "" {
		return v.toOwn(p.Next)
	}
	answer := map[string]any{"subject": v.user}
	if v.form.Get("remember") != "" {
		answer["remember"], answer["remember_for"] = true, int(c.config.Remember.Seconds())
	}
	return c.acceptLogin(v, challenge, req.Client, answer)
}

// begin logs a person in to the console, under a new id.
func (c *Console) begin(v *visit, name string) {
	mark, _ := c.config.Users.mark(name)
	c.enter(v, c.sessions.begin(v.cookie, name, mark))
	v.user = name
	http.SetCookie(v.w, c.sessions.device(name))
	c.audit(v, "log in", "")
}

var errThrottled = errors.New("too many wrong passwords")

// password looks whether it is right, as slowly as the tries that are left allow. A name that nobody has costs the same
// tries and the same time.
func (c *Console) password(v *visit, name, given string) (bool, error) {
	p, who := pacePerson, name
	if device := c.sessions.deviceOf(v.r, name); device != "" {
		p, who = paceDevice, device
	}
	from := c.address(v.r)
	if !c.tries.take(paceAddress, from) {
		return false, errThrottled
	}
	if !c.tries.take(p, who) {
		return false, errThrottled
	}
	right, err := c.config.Users.check(v.r.Context(), name, given)
	if right {
		c.tries.giveBack(paceAddress, from)
		c.tries.giveBack(p, who)
	} else if err == nil {
		tried := "nobody's name" // which may be a password, in the wrong field
		if _, known := c.config.Users.mark(name); known {
			tried = name
		}
		c.audit(v, "wrong password", "", "tried", tried)
	}
	return right, err
}

func (c *Console) acceptLogin(v *visit, challenge string, app client, answer map[string]any) error {
	to, err := c.api.answer(v.r.Context(), "login", challenge, "accept", answer)
	if err != nil {
		return err
	}
	c.flows.record(challenge, v.cookie)
	c.audit(v, "accept login", app.ID, "subject", answer["subject"])
	return c.toServer(v, to)
}

// refuse answers a challenge with an error, which the server passes on to the app.
func (c *Console) refuse(v *visit, kind, challenge string, app client, code, description string) error {
	to, err := c.api.answer(v.r.Context(), kind, challenge, "reject", map[string]string{"error": code, "error_description": description})
	if err != nil {
		return err
	}
	c.audit(v, "refuse "+kind, app.ID, "reason", description)
	return c.toServer(v, to)
}
