package pgserver

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	dsnVariable   = "TIDEOVER_TEST_DSN_"     // followed by the server's name in upper case
	binVariable   = "TIDEOVER_POSTGRES_BIN_" // the same
	imageVariable = "TIDEOVER_POSTGRES_IMAGE"
	defaultImage  = "postgres:15"
)

func (o Options) withDefaults() Options {
	if o.Source == "" {
		o.Source = Auto
	}
	if o.Name == "" {
		o.Name = "postgres"
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.DSN == "" {
		o.DSN = os.Getenv(o.variable())
	}
	if o.Programs == "" {
		o.Programs = os.Getenv(binVariable + o.suffix())
	}
	if o.Image == "" {
		o.Image = os.Getenv(imageVariable)
	}
	if o.Image == "" {
		o.Image = defaultImage
	}
	return o
}

// sources lists what is to be tried, in order. A DSN or a folder of programs that was given is the only one: falling
// back from a server that somebody named to another would hide that it is down, or of which version it is.
func (o Options) sources() ([]Origin, error) {
	switch o.Network {
	case "", "bridge", "host":
	default:
		return nil, fmt.Errorf("postgres %q: network %q: want bridge or host", o.Name, o.Network)
	}
	switch o.Source {
	case Auto:
		if o.DSN != "" {
			return []Origin{DSN}, nil
		}
		if o.Programs != "" {
			return []Origin{Local}, nil
		}
		return []Origin{Local, Container, Download}, nil
	case DSN:
		if o.DSN == "" {
			return nil, &StartError{Name: o.Name, Tried: []Attempt{{Source: DSN,
				Err: fmt.Errorf("no connection string: set %s or give one", o.variable())}}}
		}
		return []Origin{DSN}, nil
	case Local, Container, Download:
		return []Origin{o.Source}, nil
	}
	return nil, fmt.Errorf("postgres %q: source %q: want auto, dsn, local, container or download", o.Name, o.Source)
}

// variable is the name of the environment variable that can hold this server's DSN.
func (o Options) variable() string { return dsnVariable + o.suffix() }

// suffix is the name as environment variables have it.
func (o Options) suffix() string { return strings.ToUpper(strings.ReplaceAll(o.slug(), "-", "_")) }

// slug is the name in letters that directories, containers and variables all allow.
func (o Options) slug() string {
	slug := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, o.Name)
	return slug[:min(len(slug), 24)]
}

// uniqueName is what this server's directory, or container, is called.
func (o Options) uniqueName() string {
	return dirPrefix + o.slug() + "-" + strings.ToLower(rand.Text()[:10])
}
