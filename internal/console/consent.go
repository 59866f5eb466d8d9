package console

import (
	"net/http"
	"slices"
)

// consentPage is what the consent page shows.
type consentPage struct {
	Challenge, Subject string
	App                appView
	Targets            []string // where the browser goes with the answer
	Scopes             []scopeView
	Audience           []string
	Fault              string
}

type scopeView struct {
	Scope
	Checked bool
}

func (c *Console) consentRequest(v *visit, challenge string) (consentRequest, error) {
	var req consentRequest
	if err := c.api.question(v.r.Context(), "consent", challenge, &req); err != nil {
		return req, err
	}
	// A consent is answered in the browser that logged in for it, or by the person whose it is.
	if v.user != req.Subject && !c.flows.belongs(req.LoginChallenge, v.cookie) {
		return req, &fault{status: http.StatusForbidden, name: "notyours", again: req.RequestURL}
	}
	return req, nil
}

func (c *Console) showConsent(v *visit) error {
	req, err := c.consentRequest(v, v.r.URL.Query().Get("consent_challenge"))
	if err != nil {
		return err
	}
	if blocked(req.Client) {
		return c.refuse(v, "consent", req.Challenge, req.Client, "access_denied", text("reject.blocked"))
	}
	if req.Skip {
		return c.acceptConsent(v, req, req.RequestedScope, req.Audience, false)
	}
	return c.askConsent(v, http.StatusOK, req, "")
}

func (c *Console) askConsent(v *visit, status int, req consentRequest, problem string) error {
	p := consentPage{Challenge: req.Challenge, Subject: req.Subject, App: c.appView(req.Client),
		Targets: hosts(targets(req.Client, req.RequestURL)), Audience: req.Audience, Fault: problem}
	if forDevice(req.RequestURL) {
		p.Targets = []string{text("target.code")}
	}
	look, err := c.lookalikes(v.r.Context(), req.Client)
	if err != nil {
		return err
	}
	p.App.Warnings = append(p.App.Warnings, look...)
	for _, s := range distinct(req.RequestedScope) {
		p.Scopes = append(p.Scopes, scopeView{c.config.Catalogue.scope(s), true})
	}
	v.leads = c.leadsTo(req.Client, req.RequestURL)
	return c.show(v, status, "consent", p)
}

// consent takes the form. What was asked for is read again from the server: the form only chooses among it.
func (c *Console) consent(v *visit) error {
	req, err := c.consentRequest(v, v.form.Get("consent_challenge"))
	if err != nil {
		return err
	}
	switch {
	case blocked(req.Client):
		return c.refuse(v, "consent", req.Challenge, req.Client, "access_denied", text("reject.blocked"))
	case v.form.Get("choice") != "allow":
		return c.refuse(v, "consent", req.Challenge, req.Client, "access_denied", text("reject.consent"))
	}
	var granted, audience []string
	for _, s := range distinct(req.RequestedScope) {
		if c.config.Catalogue.scope(s).Required || slices.Contains(v.form["scope"], s) {
			granted = append(granted, s)
		}
	}
	if len(granted) == 0 && len(req.RequestedScope) > 0 {
		return c.askConsent(v, http.StatusBadRequest, req, text("consent.none"))
	}
	for _, a := range distinct(req.Audience) {
		if slices.Contains(v.form["audience"], a) {
			audience = append(audience, a)
		}
	}
	return c.acceptConsent(v, req, granted, audience, v.form.Get("remember") != "")
}

func (c *Console) acceptConsent(v *visit, req consentRequest, scopes, audience []string, remember bool) error {
	answer := map[string]any{"grant_scope": some(scopes), "grant_access_token_audience": some(audience)}
	if remember {
		answer["remember"], answer["remember_for"] = true, int(c.config.Remember.Seconds())
	}
	if slices.Contains(scopes, "profile") {
		answer["session"] = map[string]any{"id_token": map[string]string{"preferred_username": req.Subject}}
	}
	to, err := c.api.answer(v.r.Context(), "consent", req.Challenge, "accept", answer)
	if err != nil {
		return err
	}
	c.audit(v, "grant", req.Client.ID, "subject", req.Subject, "scopes", scopes, "audience", audience)
	return c.toServer(v, to)
}

func distinct(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// some is a list that JSON has as [], where there is none.
func some(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
