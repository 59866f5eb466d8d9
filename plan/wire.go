package plan

import (
	"net"
	"net/url"
	"regexp"
	"strings"
)

// wires finds secrets that could be read on their way: each address once, with the cure.
func (h *hazards) wires() {
	seen := map[string]bool{}
	tell := func(key, hint, format string, args ...any) {
		if !seen[key] {
			h.add(NoSecretOut, nil, hint, format, args...)
		}
		seen[key] = true
	}
	if h.rb.Router != nil {
		for _, admin := range h.rb.Router.Admin {
			if host := plainHost(admin); host != "" {
				tell(admin, "give the control address TLS (https://), or reach it through a tunnel that ends on this machine",
					"the router's token goes to %s in plain text", host)
			}
		}
	}
	for _, db := range []struct{ name, dsn string }{{"blue", h.rb.Blue.DSN}, {"green", h.rb.Green.DSN}, {"control", h.rb.Control.DSN}} {
		if host := bareHost(db.dsn); host != "" {
			tell(host, "put sslmode=verify-full (and sslrootcert) into the connection string", "rows and password of %s go to %s, and nothing there says that they must be encrypted", db.name, host)
		}
	}
	for i := range h.rb.Steps {
		var list []ParticipantSpec
		switch c := h.rb.Steps[i].Config.(type) {
		case *CutoverSpec:
			list = c.Participants
		case *PauseJobsSpec:
			list = c.Jobs
		}
		for _, p := range list {
			c, ok := p.Config.(*HTTPSpec)
			switch {
			case !ok:
			case c.Secret == "":
				h.add(NoSecretOut, &h.rb.Steps[i], "give it a `secret`, and have the service look at the signature (docs/cutover.md)",
					"calls to participant %q are not signed: whoever reaches it can have it switch", p.Name)
			}
		}
	}
	if h.rb.literal {
		h.add(NoSecretOut, nil, "write ${NAME} and set it in the environment", "a connection string in the runbook has its password in it: whoever reads the file has it, and the journal, which keeps the file without it, is not enough to resume")
	}
}

// plainHost is the host of an http:// address that is not this machine; else "".
func plainHost(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || local(u.Hostname()) {
		return ""
	}
	return u.Host
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || host == "localhost" || strings.HasPrefix(host, "/") || ip != nil && ip.IsLoopback()
}

var keyword = regexp.MustCompile(`(?:^|\s)(host|hostaddr|sslmode|service)\s*=\s*'?([^\s']*)`)

// bareHost is the host of a connection string that leads to another machine and does not ask for TLS; else "". One that names a
// service is left alone: what that has is not here.
func bareHost(dsn string) string {
	settings := map[string]string{}
	if strings.Contains(dsn, "://") {
		u, err := url.Parse(dsn)
		if err != nil {
			return ""
		}
		settings["host"] = u.Hostname()
		for name, values := range u.Query() {
			settings[name] = values[0]
		}
	} else {
		for _, m := range keyword.FindAllStringSubmatch(dsn, -1) {
			settings[m[1]] = m[2]
		}
	}
	host := settings["host"]
	if host == "" {
		host = settings["hostaddr"]
	}
	switch settings["sslmode"] {
	case "require", "verify-ca", "verify-full":
		return ""
	}
	if local(host) || settings["service"] != "" {
		return ""
	}
	return host
}

// literalPassword finds a connection string with a password in the text of a runbook.
var literalPassword = regexp.MustCompile(`(?m)^[^#\n]*\bdsn["']?\s*:.*(?:://[^/@\s:]*:[^@\s$][^@\s]*@|\bpassword\s*=\s*[^\s$'"]|[?&]password=[^\s$&])`)
