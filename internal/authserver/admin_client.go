package authserver

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/tideover/tideover/internal/authserver/store"
)

// clientJSON is Hydra's OAuth 2.0 client. The secret is in the answer to the request that set it, and nowhere else.
type clientJSON struct {
	ID                     string         `json:"client_id"`
	Name                   string         `json:"client_name"`
	Secret                 string         `json:"client_secret,omitempty"`
	RedirectURIs           []string       `json:"redirect_uris"`
	GrantTypes             []string       `json:"grant_types"`
	ResponseTypes          []string       `json:"response_types"`
	Scope                  string         `json:"scope"`
	Audience               []string       `json:"audience"`
	Owner                  string         `json:"owner"`
	Contacts               []string       `json:"contacts"`
	Metadata               store.Document `json:"metadata"`
	PostLogoutRedirectURIs []string       `json:"post_logout_redirect_uris"`
	AuthMethod             string         `json:"token_endpoint_auth_method"`
	JWKS                   store.Document `json:"jwks,omitempty"`                              // of private_key_jwt: public keys, or
	JWKSURI                string         `json:"jwks_uri,omitempty"`                          // where they are
	OldSecretUntil         int64          `json:"client_secret_previous_expires_at,omitempty"` // Unix seconds; the secret before the last works until then
	AccessSeconds          *int32         `json:"access_token_seconds,omitempty"`              // the server's own lifetime where missing
	CreatedAt              time.Time      `json:"created_at"`
	UpdatedAt              time.Time      `json:"updated_at"`
}

func toJSON(c store.Client) clientJSON {
	var until int64
	if l := parseSecrets(c.SecretHash); len(l.at(time.Now())) > 1 {
		until = l.until.Unix()
	}
	return clientJSON{OldSecretUntil: until, ID: c.ID, Name: c.Name, RedirectURIs: c.RedirectURIs.List(), GrantTypes: c.GrantTypes.List(),
		ResponseTypes: c.ResponseTypes.List(), Scope: c.Scope, Audience: c.Audience.List(), Owner: c.Owner,
		Contacts: c.Contacts.List(), Metadata: c.Metadata, PostLogoutRedirectURIs: c.PostLogoutRedirectURIs.List(),
		AuthMethod: c.AuthMethod, JWKS: c.JWKS, JWKSURI: c.JWKSURI, AccessSeconds: c.AccessSeconds, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt}
}

// readClient reads a client, fills in Hydra's defaults and checks it.
func (s *Server) readClient(r *http.Request) (clientJSON, error) {
	var c clientJSON
	if err := read(r, &c); err != nil {
		return c, err
	}
	if c.AuthMethod == "" {
		c.AuthMethod = "client_secret_basic"
	}
	if len(c.GrantTypes) == 0 {
		c.GrantTypes = []string{"authorization_code"}
	}
	if len(c.ResponseTypes) == 0 {
		c.ResponseTypes = []string{"code"}
	}
	methods := []string{"client_secret_basic", "client_secret_post", "none"}
	if s.assertions() != nil {
		methods = append(methods, authPrivateKey)
	}
	if !slices.Contains(methods, c.AuthMethod) {
		return c, invalid("field token_endpoint_auth_method is none of " + strings.Join(methods, ", "))
	}
	if err := s.checkKeys(&c); err != nil {
		return c, err
	}
	if c.AuthMethod == "none" && c.Secret != "" {
		return c, invalid("a public client has no secret")
	}
	for _, grant := range c.GrantTypes {
		if !slices.Contains([]string{"authorization_code", "refresh_token", "client_credentials"}, grant) &&
			(grant != string(oidc.GrantTypeDeviceCode) || s.generation.device == "") {
			return c, invalid(fmt.Sprintf("grant type %q is not served", grant))
		}
	}
	for _, uri := range append(slices.Clone(c.RedirectURIs), c.PostLogoutRedirectURIs...) {
		if fault := s.registrationFault(uri); fault != "" {
			return c, invalid(fmt.Sprintf("redirect URI %q %s", uri, fault))
		}
	}
	if c.AccessSeconds != nil && *c.AccessSeconds <= 0 {
		return c, invalid("field access_token_seconds is not above zero")
	}
	return c, nil
}

// checkKeys wants keys of a client that signs who it is, and of no other. What is stored of them is public, and no more
// than the keys.
func (s *Server) checkKeys(c *clientJSON) error {
	if c.JWKS == "null" {
		c.JWKS = ""
	}
	switch {
	case c.AuthMethod != authPrivateKey && (c.JWKS != "" || c.JWKSURI != ""):
		return invalid("only a client with token_endpoint_auth_method private_key_jwt has jwks or jwks_uri")
	case c.AuthMethod != authPrivateKey:
		return nil
	case c.Secret != "":
		return invalid("a client with keys has no secret")
	case (c.JWKS == "") == (c.JWKSURI == ""):
		return invalid("a client with private_key_jwt has either jwks or jwks_uri")
	case c.JWKSURI != "":
		if fault := s.clientKeys.fault(c.JWKSURI); fault != "" {
			return invalid("field jwks_uri " + fault)
		}
		return nil
	}
	set, err := readKeys([]byte(c.JWKS))
	if err != nil {
		return invalid("field jwks " + err.Error())
	}
	c.JWKS = store.NewDocument(set)
	return nil
}

// secretless tells clients that have no secret.
func secretless(method string) bool { return method == "none" || method == authPrivateKey }

// row is the client as it is stored; its secret becomes a hash.
func (s *Server) row(c clientJSON) (store.Client, error) {
	out := store.Client{ID: c.ID, Name: c.Name, Owner: c.Owner, RedirectURIs: store.NewDocument(some(c.RedirectURIs)),
		PostLogoutRedirectURIs: store.NewDocument(some(c.PostLogoutRedirectURIs)), GrantTypes: store.NewDocument(some(c.GrantTypes)),
		ResponseTypes: store.NewDocument(some(c.ResponseTypes)), Scope: c.Scope, Audience: store.NewDocument(some(c.Audience)),
		Contacts: store.NewDocument(some(c.Contacts)), Metadata: c.Metadata, AuthMethod: c.AuthMethod, JWKS: c.JWKS, JWKSURI: c.JWKSURI, AccessSeconds: c.AccessSeconds}
	var err error
	if c.Secret != "" {
		out.SecretHash, err = s.secrets.hash(c.Secret)
	}
	return out, err
}

func (s *Server) createClient(r *http.Request) (int, any, error) {
	c, err := s.readClient(r)
	if err != nil {
		return 0, nil, err
	}
	if c.ID == "" {
		c.ID = uuid.NewString()
	}
	if c.Secret == "" && !secretless(c.AuthMethod) {
		c.Secret = newToken("")
	}
	row, err := s.row(c)
	if err != nil {
		return 0, nil, err
	}
	if err := s.audited(r, "create client", c.ID, "", told(c)).CreateClient(r.Context(), row); err != nil {
		return 0, nil, err
	}
	status, body, err := s.stored(r, http.StatusCreated, c.ID, c.Secret)
	if err != nil { // it is committed, and this is the only time that the secret is shown
		out := toJSON(row)
		out.Secret = c.Secret
		return http.StatusCreated, out, nil
	}
	return status, body, nil
}

// stored answers with the client as the database has it now, and with a secret that has just been set.
func (s *Server) stored(r *http.Request, status int, id, secret string) (int, any, error) {
	c, err := s.store.Client(r.Context(), id)
	if err != nil {
		return 0, nil, err
	}
	out := toJSON(c)
	out.Secret = secret
	return status, out, nil
}

func (s *Server) getClient(r *http.Request) (int, any, error) {
	return s.stored(r, http.StatusOK, r.PathValue("id"), "")
}

// updateClient replaces the client; without a secret in the request the old one stays.
func (s *Server) updateClient(r *http.Request) (int, any, error) {
	c, err := s.readClient(r)
	if err != nil {
		return 0, nil, err
	}
	c.ID = r.PathValue("id")
	old, err := s.store.Client(r.Context(), c.ID)
	if err != nil {
		return 0, nil, err
	}
	if old.SecretHash == "" && c.Secret == "" && !secretless(c.AuthMethod) {
		c.Secret = newToken("") // a public client becomes confidential
	}
	row, err := s.row(c)
	if err != nil {
		return 0, nil, err
	}
	if err := s.audited(r, "update client", c.ID, "", told(c)).UpdateClient(r.Context(), row); err != nil {
		return 0, nil, err
	}
	return s.stored(r, http.StatusOK, c.ID, c.Secret)
}

func (s *Server) deleteClient(r *http.Request) (int, any, error) {
	id := r.PathValue("id")
	return http.StatusNoContent, nil, s.audited(r, "delete client", id, "", nil).DeleteClient(r.Context(), id)
}

// listClients takes limit and offset (1.x) or page_size (2.x), and owner.
func (s *Server) listClients(r *http.Request) (int, any, error) {
	q := r.URL.Query()
	number := func(fallback int, names ...string) int {
		for _, name := range names {
			if n, err := strconv.Atoi(q.Get(name)); err == nil && n >= 0 {
				return n
			}
		}
		return fallback
	}
	clients, err := s.store.ListClients(r.Context(), q.Get("owner"), min(number(100, "limit", "page_size"), 1000), number(0, "offset"))
	if err != nil {
		return 0, nil, err
	}
	out := []clientJSON{}
	for _, c := range clients {
		out = append(out, toJSON(c))
	}
	return http.StatusOK, out, nil
}
