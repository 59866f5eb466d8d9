package traffic

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// What a server says of a token or a client, beyond whose it is, must not change while it lives: an upgrade that loses
// a token's audience, the claims that the consent app put into it, or a client's redirect URIs has lost something, though
// every answer is still a yes.

// tokenClaims are the members of an introspection (RFC 7662 section 2.2) that are kept for comparing.
var tokenClaims = []string{"aud", "exp", "iat", "nbf", "token_use", "username", "ext"}

// clientClaims are the members of a client's registration (RFC 7591 section 2) that are kept for comparing.
var clientClaims = []string{"redirect_uris", "post_logout_redirect_uris", "grant_types", "response_types", "scope", "audience",
	"token_endpoint_auth_method", "client_name", "owner", "contacts"}

// claims takes members of a JSON object for the record. What is long or free text becomes a fingerprint; null, "", [] and
// {} are the same as nothing.
func (c *caller) claims(body []byte, names []string) map[string]string {
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil {
		return nil
	}
	kept := map[string]string{}
	for _, name := range names {
		var v any
		if json.Unmarshal(members[name], &v) != nil {
			continue
		}
		text, err := json.Marshal(v) // maps come out sorted
		if err != nil {
			continue
		}
		switch s := string(text); {
		case s == "null", s == `""`, s == "[]", s == "{}":
		case strings.Trim(s, "0123456789") == "":
			kept[name] = s
		default:
			kept[name] = c.print(s)
		}
	}
	return kept
}

// unchanged compares the claims of an answer with those of the first answer about the same thing, which it returns.
func (j *judge) unchanged(o, first *op, name string) *op {
	if len(o.answer.Claims) == 0 && first == nil {
		return nil // nothing was recorded
	}
	if first == nil {
		return o
	}
	was, is := first.answer.Claims, o.answer.Claims
	var changed []string
	for _, claim := range slices.Sorted(maps.Keys(merged(was, is))) {
		if was[claim] != is[claim] {
			changed = append(changed, claim)
		}
	}
	if len(changed) > 0 {
		j.find(WrongAnswer, []*op{o, first}, "%s says something else of %s than %s did: %s", about(o), name, about(first), strings.Join(changed, ", "))
	}
	return first
}

func merged(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, b)
	return all
}

// lifetime compares when an access token ends, by introspection, with the lifetime that it was handed out with.
func (j *judge) lifetime(o *op, t *token) {
	var exp int64
	if t.refresh || json.Unmarshal([]byte(o.answer.Claims["exp"]), &exp) != nil {
		return
	}
	earliest, latest := never, time.Duration(0)
	for _, origin := range t.origins {
		life := time.Duration(origin.answer.Issued.ExpiresIn) * time.Second
		if life <= 0 {
			return
		}
		earliest, latest = min(earliest, origin.start+life), max(latest, origin.end+life)
	}
	ends := time.Unix(exp, 0).Sub(j.started)
	if ends < earliest-j.expect.Margin || ends > latest+j.expect.Margin {
		j.find(WrongAnswer, []*op{o, t.origins[0]}, "%s gives %s an end that is %s off the lifetime that it was handed out with", about(o), t.name,
			(ends - earliest).Round(time.Second))
	}
}
