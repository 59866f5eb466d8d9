package plan

// HTTPSpec is a service with hooks: POST URL/prepare, /commit, /abort; GET URL/status.
type HTTPSpec struct {
	URL    string `yaml:"url"`
	Secret string `yaml:"secret"` // signs each call
}

// minSecret is the shortest secret of a participant, in bytes.
const minSecret = 16

var httpKind = participantKind{
	name:   "http",
	config: HTTPSpec{},
	fields: fields{
		"url":    {Doc: "POST URL/prepare, /commit and /abort; GET URL/status.", Required: true, Env: true},
		"secret": {Doc: "every call is signed with it (docs/cutover.md), so that the service can tell us from others. At least 16 bytes.", Env: true},
	},
	check: func(d *decoder, path string, config any) {
		c := config.(*HTTPSpec)
		d.checkURL(join(path, "url"), c.URL)
		if c.Secret != "" && len(c.Secret) < minSecret {
			d.add(join(path, "secret"), "take a longer one, such as the output of `openssl rand -hex 32`", "has %d bytes, it needs at least %d", len(c.Secret), minSecret)
		}
	},
	job: true,
}
