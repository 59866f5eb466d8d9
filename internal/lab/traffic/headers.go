package traffic

import (
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// headers are what a client, a cache or a browser goes by in an answer, without names, values and addresses that are an
// answer's own: whether it may be kept (RFC 9111, RFC 6749 section 5.1), what it is, how to authenticate (RFC 6750 section 3),
// how well cookies are kept, and where a browser is sent.
func headers(res *http.Response) map[string]string {
	kept := map[string]string{}
	put := func(name, value string) {
		if value != "" {
			kept[name] = value
		}
	}
	for _, name := range []string{"Cache-Control", "Pragma"} {
		var directives []string
		for d := range strings.SplitSeq(strings.Join(res.Header.Values(name), ","), ",") {
			directives = append(directives, strings.ToLower(strings.TrimSpace(d)))
		}
		slices.Sort(directives)
		put(name, strings.Join(slices.Compact(directives), ", "))
	}
	if kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err == nil {
		put("Content-Type", kind)
	}
	scheme, _, _ := strings.Cut(res.Header.Get("WWW-Authenticate"), " ")
	put("WWW-Authenticate", scheme)
	var cookies []string
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 {
			continue // it is taken away
		}
		flags := []string{"path " + c.Path}
		for flag, set := range map[string]bool{"HttpOnly": c.HttpOnly, "Secure": c.Secure, "SameSite": c.SameSite > http.SameSiteDefaultMode && c.SameSite != http.SameSiteNoneMode} {
			if set {
				flags = append(flags, flag)
			}
		}
		slices.Sort(flags)
		cookies = append(cookies, strings.Join(flags, " "))
	}
	slices.Sort(cookies)
	put("Set-Cookie", strings.Join(slices.Compact(cookies), ", "))
	if to, err := url.Parse(res.Header.Get("Location")); err == nil && to.Host != "" {
		put("Location", to.Scheme+"://"+to.Host)
	}
	return kept
}

// promise is what answers of one sort said before the switch.
type promise struct {
	first *op
	said  map[string]map[string]bool // header, or "expires_in" → values, "" for none
}

// promises compares what answers promise, besides what they are about: headers, and how long tokens live. What the old side
// said before the run, the new one has to say of answers of the same sort when the run is over.
func (j *judge) promises() {
	j.sameAgain()
	for _, o := range j.ops {
		if j.effect(o) == done && o.answer.Issued != nil && o.answer.Issued.Access != "" && j.late(o) && o.answer.Headers != nil && !strings.Contains(o.answer.Headers["Cache-Control"], "no-store") {
			j.find(WrongAnswer, []*op{o}, "%s hands out tokens in an answer that may be kept (RFC 6749 section 5.1)", about(o))
			break
		}
	}
	run, after := j.when(MarkRun), j.when(MarkAfter)
	if run == never || after == never {
		return
	}
	before := map[string]*promise{}
	for _, o := range j.ops {
		if o.Target != Router || o.answer == nil || o.end >= run {
			continue
		}
		p := before[sortOf(o)]
		if p == nil {
			p = &promise{first: o, said: map[string]map[string]bool{}}
			before[sortOf(o)] = p
		}
		for name, value := range promised(o) {
			if p.said[name] == nil {
				p.said[name] = map[string]bool{}
			}
			p.said[name][value] = true
		}
	}
	told := map[string]bool{}
	for _, o := range j.ops {
		p := before[sortOf(o)]
		if p == nil || o.Target != Router || o.answer == nil || o.start < after {
			continue
		}
		for name, value := range promised(o) {
			said := slices.Collect(maps.Keys(p.said[name]))
			if name == "Set-Cookie" && value != "" && len(said) > 1 { // a cookie is held against cookies
				said = slices.DeleteFunc(said, func(was string) bool { return was == "" })
			}
			if told[sortOf(o)+name] || slices.ContainsFunc(said, func(was string) bool { return keeps(name, was, value) }) {
				continue
			}
			told[sortOf(o)+name] = true
			j.find(WrongAnswer, []*op{o, p.first}, "%s answers with %s %q; before the run it was %s", about(o), name, value, quoted(p.said[name]))
		}
	}
}

// sameAgain: an answer that is given to a second request promises what it did the first time.
func (j *judge) sameAgain() {
	first := map[string]*op{} // by access token
	for _, o := range j.ops {
		if o.Target != Router || o.answer == nil || o.answer.Headers == nil || o.answer.Issued == nil || o.answer.Issued.Access == "" {
			continue
		}
		was := first[o.answer.Issued.Access]
		if was == nil {
			first[o.answer.Issued.Access] = o
			continue
		}
		for _, name := range promising {
			if a, b := was.answer.Headers[name], o.answer.Headers[name]; a != b {
				j.find(WrongAnswer, []*op{o, was}, "%s gives the tokens of another answer with %s %q, where that has %q", about(o), name, b, a)
				return
			}
		}
	}
}

// keeps reports whether a value promises what another did. What may be kept, and how well cookies are guarded, may become
// stricter.
func keeps(name, was, is string) bool {
	switch name {
	case "Set-Cookie":
		if is == "" {
			return true // the browser has it already, or the flow ends in an error
		}
		fallthrough
	case "Cache-Control", "Pragma":
		words := strings.FieldsFunc(is, func(r rune) bool { return r == ',' || r == ' ' })
		return !slices.ContainsFunc(strings.FieldsFunc(was, func(r rune) bool { return r == ',' || r == ' ' }), func(word string) bool { return !slices.Contains(words, word) })
	}
	var before, now int64
	if name == "expires_in" { // whole seconds, rounded
		if _, err := fmt.Sscan(was+" "+is, &before, &now); err == nil {
			return max(before-now, now-before) <= 1
		}
	}
	return was == "" || was == is
}

// when is the first time of a mark.
func (tl *timeline) when(mark string) time.Duration {
	for _, m := range tl.marks {
		if m.Mark == mark {
			return m.At
		}
	}
	return never
}

// sortOf names answers that should look alike.
func sortOf(o *op) string {
	sort := fmt.Sprintf("%s %s %d %s %t", o.Kind, o.Step, o.answer.Status, o.answer.Error, o.Skip)
	if a := o.answer.Active; a != nil { // a dead token's introspection is an answer of its own in some servers
		sort += fmt.Sprint(" ", *a)
	}
	return sort
}

var promising = []string{"Cache-Control", "Pragma", "Content-Type", "WWW-Authenticate", "Set-Cookie", "Location"}

func promised(o *op) map[string]string {
	all := map[string]string{}
	for _, name := range promising {
		all[name] = o.answer.Headers[name]
	}
	if i := o.answer.Issued; i != nil && i.Access != "" {
		all["expires_in"] = fmt.Sprint(i.ExpiresIn)
	}
	return all
}

func quoted(said map[string]bool) string {
	var all []string
	for _, value := range slices.Sorted(maps.Keys(said)) {
		all = append(all, fmt.Sprintf("%q", value))
	}
	return strings.Join(all, " or ")
}

// Looks names what the checker looks at: members of an introspection and of a client's registration, headers, and the kinds of
// requests that the traffic sends.
func Looks() (token, client, header, sent []string) {
	for _, k := range kinds {
		sent = append(sent, string(k))
	}
	return tokenClaims, clientClaims, promising, sent
}
