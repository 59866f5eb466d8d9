package cutover

import (
	"bufio"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tideover/tideover/plan"
)

// pooled is where PgBouncer sends the clients of one database.
type pooled struct{ Host, Port, Database string }

// poolsOf reads the [databases] section of a PgBouncer file (its manual, "Section [databases]"): what comes before any
// header belongs to it, too, as in a file that is included there.
func poolsOf(content string) (map[string]pooled, error) {
	pools := map[string]pooled{}
	section := "databases"
	lines := bufio.NewScanner(strings.NewReader(content))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			section = line[1 : len(line)-1]
			continue
		}
		if line == "" || line[0] == ';' || line[0] == '#' || line[0] == '%' || section != "databases" {
			continue
		}
		name, words, ok := strings.Cut(line, "=")
		if name = unquoted(strings.TrimSpace(name)); !ok || name == "" {
			return nil, fmt.Errorf("line %d is no database: want name = host=… port=… dbname=…", n)
		}
		if name == "*" {
			return nil, fmt.Errorf("line %d: a fallback database (*) can't be paused: name each database", n)
		}
		settings, err := keywords(words)
		if err != nil {
			return nil, fmt.Errorf("line %d: database %q: %w", n, name, err)
		}
		p := pooled{Host: settings["host"], Port: settings["port"], Database: settings["dbname"]}
		if p.Port == "" {
			p.Port = "5432"
		}
		if p.Database == "" {
			p.Database = name
		}
		pools[name] = p
	}
	return pools, lines.Err()
}

func unquoted(name string) string {
	if len(name) >= 2 && name[0] == '"' && name[len(name)-1] == '"' {
		return strings.ReplaceAll(name[1:len(name)-1], `""`, `"`)
	}
	return name
}

// keywords reads key=value pairs; a value in single quotes may hold spaces, and a doubled quote stands for one.
func keywords(s string) (map[string]string, error) {
	settings := map[string]string{}
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		key, rest, ok := strings.Cut(s, "=")
		if !ok {
			return nil, fmt.Errorf("its connection string has a word without a value")
		}
		rest = strings.TrimLeft(rest, " \t")
		var value strings.Builder
		if strings.HasPrefix(rest, "'") {
			i := 1
			for ; i < len(rest); i++ {
				if rest[i] == '\'' {
					if i+1 >= len(rest) || rest[i+1] != '\'' {
						break
					}
					i++
				}
				value.WriteByte(rest[i])
			}
			if i >= len(rest) {
				return nil, fmt.Errorf("its connection string has a quote without an end")
			}
			s = rest[i+1:]
		} else {
			end := strings.IndexAny(rest, " \t")
			if end < 0 {
				end = len(rest)
			}
			value.WriteString(rest[:end])
			s = rest[end:]
		}
		settings[strings.TrimSpace(key)] = value.String()
	}
	return settings, nil
}

// moved names the databases that two files send to different places. Both files must name the same ones.
func moved(blue, green map[string]pooled) ([]string, error) {
	for name := range blue {
		if _, ok := green[name]; !ok {
			return nil, fmt.Errorf("database %q is in blue's file and not in green's", name)
		}
	}
	var names []string
	for name, p := range green {
		before, ok := blue[name]
		if !ok {
			return nil, fmt.Errorf("database %q is in green's file and not in blue's", name)
		}
		if p != before {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("blue's and green's file send every database to the same place")
	}
	slices.Sort(names)
	return names, nil
}

// sideOf reports which side's file says what is shown, "" where neither does.
func sideOf(shown, blue, green map[string]pooled, names []string) plan.Side {
	only := func(m map[string]pooled) map[string]pooled {
		picked := map[string]pooled{}
		for _, n := range names {
			if p, ok := m[n]; ok {
				picked[n] = p
			}
		}
		return picked
	}
	switch shown = only(shown); {
	case maps.Equal(shown, only(blue)):
		return plan.Blue
	case maps.Equal(shown, only(green)):
		return plan.Green
	}
	return ""
}
