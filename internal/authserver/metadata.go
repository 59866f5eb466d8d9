package authserver

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// pathMetadata is where RFC 8414, section 3, looks; a path of the issuer comes after it.
const pathMetadata = "/.well-known/oauth-authorization-server"

// metadata is OpenID Connect Discovery 1.0, section 3, and RFC 8414, section 2, in one: what one leaves out the other
// ignores.
type metadata struct {
	*oidc.DiscoveryConfiguration
	IssuerInResponse bool   `json:"authorization_response_iss_parameter_supported"` // RFC 9207, section 3
	Pushed           string `json:"pushed_authorization_request_endpoint"`          // RFC 9126, section 5
}

func (s *Server) metadata() metadata {
	issuer := s.config.Issuer
	confidential := []oidc.AuthMethod{oidc.AuthMethodBasic, oidc.AuthMethodPost}
	var algs []string
	if s.assertions() != nil {
		confidential = append(confidential, oidc.AuthMethodPrivateKeyJWT)
		for _, a := range assertionAlgs {
			algs = append(algs, string(a))
		}
	}
	everybody := append(slices.Clone(confidential), oidc.AuthMethodNone)
	grants, device := []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken, oidc.GrantTypeClientCredentials}, ""
	if s.devices() != nil {
		grants, device = append(grants, oidc.GrantTypeDeviceCode), issuer+pathDevice // RFC 8628, section 4
	}
	return metadata{IssuerInResponse: true, Pushed: issuer + pathPushed, DiscoveryConfiguration: &oidc.DiscoveryConfiguration{
		Issuer:                                             issuer,
		AuthorizationEndpoint:                              issuer + pathAuth,
		TokenEndpoint:                                      issuer + pathToken,
		IntrospectionEndpoint:                              issuer + pathIntrospection,
		UserinfoEndpoint:                                   issuer + pathUserinfo,
		RevocationEndpoint:                                 issuer + pathRevoke,
		EndSessionEndpoint:                                 issuer + pathLogout,
		JwksURI:                                            issuer + pathKeys,
		ScopesSupported:                                    []string{oidc.ScopeOpenID, oidc.ScopeOfflineAccess, "offline"},
		ResponseTypesSupported:                             []string{string(oidc.ResponseTypeCode)},
		ResponseModesSupported:                             []string{string(oidc.ResponseModeQuery), string(oidc.ResponseModeFragment)},
		DeviceAuthorizationEndpoint:                        device,
		GrantTypesSupported:                                grants,
		SubjectTypesSupported:                              []string{"public"},
		CodeChallengeMethodsSupported:                      []oidc.CodeChallengeMethod{oidc.CodeChallengeMethodS256},
		IDTokenSigningAlgValuesSupported:                   []string{string(s.keys.Load().alg)},
		TokenEndpointAuthMethodsSupported:                  everybody,
		RevocationEndpointAuthMethodsSupported:             everybody,
		IntrospectionEndpointAuthMethodsSupported:          confidential,
		TokenEndpointAuthSigningAlgValuesSupported:         algs,
		RevocationEndpointAuthSigningAlgValuesSupported:    algs,
		IntrospectionEndpointAuthSigningAlgValuesSupported: algs,
		ClaimsSupported:                                    []string{"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "at_hash", "sid"},
	}}
}

// Discovery is OpenID Connect Discovery 1.0, section 4.
func (p protocol) Discovery(context.Context, *op.Request[struct{}]) (*op.Response, error) {
	return op.NewResponse(p.metadata()), nil
}

// metadataPaths are where clients look that know the issuer, and where they do that know the address alone.
func (s *Server) metadataPaths() []string {
	paths := []string{pathMetadata}
	if p := strings.Trim(s.issuer.Path, "/"); p != "" && !strings.ContainsAny(p, "{} ") {
		paths = append(paths, pathMetadata+"/"+p)
	}
	return paths
}

func (s *Server) serveMetadata(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.metadata())
}

// named writes what a browser brings back to the app, codes and errors alike, and says whose it is (RFC 9207): an app of
// two servers would else send the code of one to the other.
type named struct {
	issuer string
	plain  interface {
		Encode(src any, dst map[string][]string) error
	}
}

func (s *Server) encoder() named { return named{s.config.Issuer, oidc.NewEncoder()} }

// Encode writes src as parameters, and the issuer.
func (n named) Encode(src any, dst map[string][]string) error {
	url.Values(dst).Set("iss", n.issuer)
	return n.plain.Encode(src, dst)
}
