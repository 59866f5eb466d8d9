package authserver

import "net/url"

// parameters are those that the public endpoints read. Any other is ignored, as RFC 6749, section 3.1, wants.
var parameters = []string{
	"client_id", "client_secret", "client_assertion", "client_assertion_type", "redirect_uri", "scope", "audience", "state",
	"response_type", "response_mode", "nonce", "display", "prompt", "max_age", "ui_locales", "id_token_hint", "login_hint",
	"acr_values", "code_challenge", "code_challenge_method", "request", "request_uri", "registration", "login_verifier",
	"consent_verifier", "grant_type", "code", "code_verifier", "refresh_token", "token", "token_type_hint", "access_token",
	"device_code", "user_code", "device_challenge", "device_verifier", "logout_hint", "post_logout_redirect_uri", "confirmation",
}

// repeated is a parameter that is there more than once, which RFC 6749, sections 3.1 and 3.2, forbids: who reads the
// first and who reads the last would see different requests. It is "" where there is none.
func repeated(form url.Values) string {
	for _, name := range parameters {
		if len(form[name]) > 1 {
			return name
		}
	}
	return ""
}
