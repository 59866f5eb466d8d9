package plan

import (
	"fmt"
	"regexp"
	"strings"
)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand fills ${NAME} in from the environment and turns $$ into a dollar sign. It works on the value that YAML gave,
// so what a variable contains cannot change the document. Its errors name variables, and never show text.
func expand(text string, env func(string) (string, bool)) (string, []*Error) {
	const way = "set it before you start tideover"
	var (
		b    strings.Builder
		errs []*Error
	)
	for {
		i := strings.IndexByte(text, '$')
		if i < 0 {
			b.WriteString(text)
			return b.String(), errs
		}
		b.WriteString(text[:i])
		text = text[i+1:]
		if strings.HasPrefix(text, "$") {
			b.WriteByte('$')
			text = text[1:]
			continue
		}
		name, rest, closed := "", "", false
		if strings.HasPrefix(text, "{") {
			name, rest, closed = strings.Cut(text[1:], "}")
		}
		if !closed || !envName.MatchString(name) {
			errs = append(errs, &Error{Msg: "a $ that is neither ${NAME} nor $$", Way: "write $$ for a dollar sign"})
			continue
		}
		text = rest
		value, ok := "", false
		if env != nil {
			value, ok = env(name)
		}
		switch {
		case !ok:
			errs = append(errs, &Error{Msg: fmt.Sprintf("environment variable %s is not set", name), Way: way})
		case value == "":
			errs = append(errs, &Error{Msg: fmt.Sprintf("environment variable %s is empty", name), Way: way})
		}
		b.WriteString(value)
	}
}
