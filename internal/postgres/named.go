package postgres

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Named turns the :name parameters of a profile's SQL into $1, $2, … and gives their values in that order. One name
// used twice is one parameter. A name that args lacks is an error; a value that the SQL doesn't use is none.
//
// What is left alone: casts (a::text), strings in all their forms ('…', E'…', $tag$…$tag$), quoted names and comments
// (Postgres manual 4.1). A colon that follows a name, number or ")" within [ ] is an array slice; write a[:lo : :hi]
// with blanks to have parameters there.
func Named(sql string, args map[string]any) (string, []any, error) {
	var names []string
	out, err := replaceNames(sql, args, func(name string) string {
		at := slices.Index(names, name)
		if at < 0 {
			at = len(names)
			names = append(names, name)
		}
		return "$" + strconv.Itoa(at+1)
	})
	if err != nil {
		return "", nil, err
	}
	values := make([]any, len(names))
	for i, name := range names {
		values[i] = args[name]
	}
	return out, values, nil
}

// Inline puts an expression in the place of each :name parameter, by the rules of [Named].
func Inline(sql string, expressions map[string]string) (string, error) {
	return replaceNames(sql, expressions, func(name string) string { return expressions[name] })
}

func replaceNames[V any](sql string, args map[string]V, with func(name string) string) (string, error) {
	var out strings.Builder
	for i := 0; i < len(sql); {
		if n := opaque(sql, i); n > 0 {
			out.WriteString(sql[i : i+n])
			i += n
			continue
		}
		if sql[i] != ':' {
			out.WriteByte(sql[i])
			i++
			continue
		}
		if strings.HasPrefix(sql[i:], "::") {
			out.WriteString("::")
			i += 2
			continue
		}
		name := identifier(sql[i+1:])
		if name == "" || slice(sql, i) {
			out.WriteByte(':')
			i++
			continue
		}
		if _, ok := args[name]; !ok {
			return "", fmt.Errorf("parameter :%s is unknown; there are %s", name, known(args))
		}
		out.WriteString(with(name))
		i += 1 + len(name)
	}
	return out.String(), nil
}

func known[V any](args map[string]V) string {
	if len(args) == 0 {
		return "none"
	}
	var names []string
	for name := range args {
		names = append(names, ":"+name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// slice says whether the colon at i belongs to an array slice such as a[1:n].
func slice(sql string, i int) bool {
	if i == 0 || !isName(sql[i-1]) && sql[i-1] != ')' {
		return false
	}
	open := strings.LastIndexByte(sql[:i], '[')
	return open >= 0 && strings.LastIndexByte(sql[:i], ']') < open
}

// opaque is the length of the string, quoted name or comment that begins at i; 0 where none does. One that never
// ends takes all the rest, and Postgres will say so.
func opaque(sql string, i int) int {
	rest := sql[i:]
	switch {
	case strings.HasPrefix(rest, "--"):
		if n := strings.IndexByte(rest, '\n'); n >= 0 {
			return n
		}
		return len(rest)
	case strings.HasPrefix(rest, "/*"):
		return comment(rest)
	case rest[0] == '"':
		return quoted(rest, '"', false)
	case rest[0] == '\'':
		escapes := i > 0 && (sql[i-1] == 'E' || sql[i-1] == 'e') && (i == 1 || !isName(sql[i-2]))
		return quoted(rest, '\'', escapes)
	case rest[0] == '$' && (i == 0 || !isName(sql[i-1])):
		tag := "$" + identifier(rest[1:]) + "$"
		if !strings.HasPrefix(rest, tag) {
			return 0
		}
		if n := strings.Index(rest[len(tag):], tag); n >= 0 {
			return n + 2*len(tag)
		}
		return len(rest)
	}
	return 0
}

// comment is the length of a /* comment, which nests.
func comment(s string) int {
	depth := 0
	for i := 0; i < len(s); {
		switch {
		case strings.HasPrefix(s[i:], "/*"):
			depth, i = depth+1, i+2
		case strings.HasPrefix(s[i:], "*/"):
			depth, i = depth-1, i+2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return len(s)
}

// quoted is the length of a string between quotes; two of them in a row stand for one, which ends and begins anew.
func quoted(s string, quote byte, escapes bool) int {
	for i := 1; i < len(s); i++ {
		switch {
		case escapes && s[i] == '\\':
			i++
		case s[i] == quote:
			return i + 1
		}
	}
	return len(s)
}

// identifier is the name at the start of s; "" where s starts otherwise.
func identifier(s string) string {
	n := 0
	for n < len(s) && isName(s[n]) && (n > 0 || s[n] < '0' || s[n] > '9') {
		n++
	}
	return s[:n]
}

func isName(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80
}
