package traffic

import "slices"

// Kind is what a request is for.
type Kind string

// The kinds of request.
const (
	Login             Kind = "login"
	Consent           Kind = "consent"
	Exchange          Kind = "exchange"
	Refresh           Kind = "refresh"
	RefreshTwice      Kind = "refresh-twice" // the same refresh token once more, at once or as a retry
	Introspect        Kind = "introspect"
	Userinfo          Kind = "userinfo"
	RevokeAccess      Kind = "revoke-access-token"
	RevokeRefresh     Kind = "revoke-refresh-token"
	RevokeConsent     Kind = "revoke-consent" // of one subject for one client
	RevokeSubject     Kind = "revoke-subject" // all consents of a subject
	DeleteClient      Kind = "delete-client"
	CreateClient      Kind = "create-client"
	GetClient         Kind = "get-client"
	Logout            Kind = "logout"
	ClientCredentials Kind = "client-credentials"
	JWKS              Kind = "jwks"
	Discovery         Kind = "discovery"
	ListConsents      Kind = "list-consents"
	Refuse            Kind = "refuse"       // a person says no: to the login, or to what an app asks for
	WrongSecret       Kind = "wrong-secret" // somebody who is not the app asks for a token in its name
)

// Step is a part of a login or consent, which take several requests.
type Step string

// The steps of a login and of a consent.
const (
	Start  Step = "start"  // the authorization request, or what follows the login; ends with a challenge
	Read   Step = "read"   // the login or consent app asks what it is about
	Accept Step = "accept" // the app says yes
	Finish Step = "finish" // the browser returns; ends with a code
)

// kinds are all of them.
var kinds = []Kind{Login, Consent, Refuse, Exchange, Refresh, RefreshTwice, Introspect, Userinfo, RevokeAccess, RevokeRefresh, RevokeConsent,
	RevokeSubject, DeleteClient, CreateClient, GetClient, Logout, ClientCredentials, WrongSecret, JWKS, Discovery, ListConsents}

// Known reports whether k is one of the kinds above.
func (k Kind) Known() bool { return slices.Contains(kinds, k) }

// Revokes reports whether a request of this kind takes authority away.
func (k Kind) Revokes() bool {
	switch k {
	case RevokeAccess, RevokeRefresh, RevokeConsent, RevokeSubject, DeleteClient:
		return true
	}
	return false
}

// Writes reports whether a request of this kind changes the server's state for good, so that a fenced one refuses it.
// Parts of a login are left out: some servers keep them in cookies.
func (k Kind) Writes() bool {
	switch k {
	case Exchange, Refresh, RefreshTwice, ClientCredentials, CreateClient:
		return true
	}
	return k.Revokes()
}

// Refreshes reports whether a request of this kind presents a refresh token to the token endpoint.
func (k Kind) Refreshes() bool { return k == Refresh || k == RefreshTwice }
