package traces

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
)

// Config is where spans go. The zero value has no URL: nowhere.
type Config struct {
	URL      *url.URL // all of it, such as http://127.0.0.1:4318/v1/traces
	Headers  http.Header
	Timeout  time.Duration // of one call
	Resource []attribute.KeyValue
	Version  string   // tideover's
	Warnings []string // of what the environment says and can't be meant
}

// The variables of OpenTelemetry's specification that count here.
const (
	endpoint       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	tracesEndpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
)

// Read gives where spans go, by the flag --otlp or, where that is empty, by the environment, as OpenTelemetry has it. A flag that can't
// be meant is an error; an environment that can't is none, since it may not be about us: there are no traces then, and a warning.
func Read(flag string, env func(string) (string, bool)) (c Config, err error) {
	get := func(name string) string { v, _ := env(name); return v }
	first := func(names ...string) (v string) {
		for _, name := range names {
			if v = get(name); v != "" {
				break
			}
		}
		return v
	}
	switch {
	case flag != "":
		if c.URL, err = parse(flag); err != nil {
			return Config{}, fmt.Errorf("--otlp: %w", err)
		}
		c.URL = c.URL.JoinPath("v1/traces")
	case strings.EqualFold(get("OTEL_SDK_DISABLED"), "true"), get("OTEL_TRACES_EXPORTER") != "" && get("OTEL_TRACES_EXPORTER") != "otlp",
		first(tracesEndpoint, endpoint) == "":
		return Config{}, nil
	default:
		name := endpoint
		if get(tracesEndpoint) != "" {
			name = tracesEndpoint
		}
		if p := first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); p != "" && p != "http/protobuf" {
			return Config{Warnings: []string{fmt.Sprintf("no traces: the environment wants them over %s, and only http/protobuf is spoken here; --otlp names an address for that", p)}}, nil
		}
		if c.URL, err = parse(get(name)); err != nil {
			return Config{Warnings: []string{fmt.Sprintf("no traces: %s: %v", name, err)}}, nil
		}
		if name == endpoint {
			c.URL = c.URL.JoinPath("v1/traces")
		}
	}
	c.Timeout = callTimeout
	if ms, err := strconv.Atoi(first("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")); err == nil && ms > 0 {
		c.Timeout = time.Duration(ms) * time.Millisecond
	}
	c.Headers = http.Header{}
	headers, ok := pairs(first("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"))
	if !ok {
		c.Warnings = append(c.Warnings, "some of OTEL_EXPORTER_OTLP_HEADERS can't be read: want name=value,name=value")
	}
	for _, h := range headers {
		c.Headers.Set(h[0], h[1])
	}
	if len(headers) > 0 && c.URL.Scheme == "http" && !loopback(c.URL.Hostname()) {
		c.Warnings = append(c.Warnings, "the headers for the collector of traces go over the network in plain text: name an https address")
	}
	attributes, ok := pairs(get("OTEL_RESOURCE_ATTRIBUTES"))
	if !ok {
		c.Warnings = append(c.Warnings, "some of OTEL_RESOURCE_ATTRIBUTES can't be read: want name=value,name=value")
	}
	for _, a := range attributes {
		c.Resource = append(c.Resource, attribute.String(a[0], a[1]))
	}
	if name := get("OTEL_SERVICE_NAME"); name != "" {
		c.Resource = append(c.Resource, attribute.String("service.name", name))
	}
	return c, nil
}

// parse never quotes what it is given: it may have a secret.
func parse(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("it is no address of a collector; want one such as http://127.0.0.1:4318")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("an address has no password, query or fragment here; what the collector wants to know of us belongs into OTEL_EXPORTER_OTLP_HEADERS")
	}
	return u, nil
}

func loopback(host string) bool { return host == "localhost" || net.ParseIP(host).IsLoopback() }

// pairs reads name=value,name=value with values percent-encoded, and says whether it could read all.
func pairs(text string) (list [][2]string, all bool) {
	all = true
	for part := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if name = strings.TrimSpace(name); !ok || err != nil || name == "" {
			all = false
			continue
		}
		list = append(list, [2]string{name, value})
	}
	return list, all
}
