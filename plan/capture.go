package plan

// Capture begins to record changes on blue.
const Capture StepKind = "capture"

// CaptureSpec are the fields of a capture.
type CaptureSpec struct {
	Source   string `yaml:"source"`     // "triggers", "logical" or "outbox"
	OnError  string `yaml:"on_error"`   // triggers: "fail" or "mark-incomplete"
	Outbox   string `yaml:"outbox"`     // outbox: the table that the server writes
	MaxWALMB int    `yaml:"max_wal_mb"` // logical: MiB of blue's log that the slot may keep; 0: any
}

var capture = kind{
	name:     Capture,
	standard: CaptureSpec{Source: "triggers", OnError: "fail", MaxWALMB: 10240},
	fields: fields{
		"source": {Doc: "Where changes come from. `triggers`: they record each change in its own transaction. `logical`: a logical replication slot on blue, which needs `wal_level = logical` and a role with REPLICATION. `outbox`: a table that the server writes itself.",
			Enum: []string{"triggers", "logical", "outbox"}},
		"on_error": {Doc: "With `triggers`: what becomes of a write of the server whose change can't be recorded. `fail`: it fails, too, and nothing is lost. `mark-incomplete`: it goes through, and the run can only be taken back. Each recorded change then takes a savepoint of its own.",
			Enum: []string{"fail", "mark-incomplete"}},
		"outbox":     {Doc: "With `outbox`: the table, in the profile's schema or with its own."},
		"max_wal_mb": {Doc: "With `logical`: how many MiB of its log blue may have to keep for the slot. Past it the slot is dropped and the run can only be taken back: blue's disk comes first. 0: any."},
	},
	check:   checked(checkCapture),
	hazards: captureHazards,
	order: order{
		after: []precedence{
			{"token-lifetimes", "capture", "the change of every client is captured"},
		},
		blueGreen: []moment{"capture"},
	},
}

func checkCapture(d *decoder, _ *Runbook, path string, c *CaptureSpec) {
	switch {
	case c.Source == "outbox" && c.Outbox == "":
		d.add(join(path, "outbox"), "name the table that the server writes its changes into", "missing")
	case c.Source != "outbox" && c.Outbox != "":
		d.add(join(path, "outbox"), "say `source: outbox`, or leave the table out", "counts with source: outbox only")
	}
	if _, given := d.places[join(path, "on_error")]; given && c.Source != "triggers" {
		d.add(join(path, "on_error"), "leave it out: the server's writes don't wait for this source", "counts with source: triggers only")
	}
	if _, given := d.places[join(path, "max_wal_mb")]; given && c.Source != "logical" {
		d.add(join(path, "max_wal_mb"), "leave it out: no slot keeps blue's log", "counts with source: logical only")
	}
}

func captureHazards(h *hazards) {
	h.captured()
	h.revocations()
}

func (h *hazards) captured() {
	copied, switched := h.rb.Step(Snapshot), h.rb.Step(Cutover)
	if switched == nil {
		return
	}
	if h.rb.Step(Capture) == nil {
		const way = "put `- step: capture` before the snapshot, and `- step: replay` before the cutover"
		cause := copied
		if cause == nil {
			cause = switched
		}
		h.add(RevocationsKept, cause, way, "what is revoked on blue after the copy is still valid on green: changes are not captured")
		h.add(AuthorizationsKept, cause, way, "what is granted on blue after the copy is unknown to green: changes are not captured")
		return
	}
	if h.rb.Step(Replay) == nil {
		h.add(NoFailedRequest, switched, "put `- step: replay` before the cutover",
			"all changes since the copy are replayed while requests wait, and may take longer than the deadline")
	}
	if c, ok := h.rb.Step(Capture).Config.(*CaptureSpec); ok {
		switch {
		case c.Source == "outbox":
			const way = "capture with triggers or logical, or see to it that the server writes every change of these tables into its outbox"
			h.add(RevocationsKept, h.rb.Step(Capture), way, "a revocation that the server does not write into %s is not replayed, and nothing in the database notices", c.Outbox)
			h.add(AuthorizationsKept, h.rb.Step(Capture), way, "a change that the server, or a person with psql, does not write into %s is not replayed", c.Outbox)
		case c.Source == "logical" && c.MaxWALMB == 0:
			h.add(NoFailedRequest, h.rb.Step(Capture), "set max_wal_mb", "the slot may keep any amount of blue's log: a full disk stops blue")
		}
	}
	for _, t := range h.p.Tables {
		if !t.Captured() {
			h.add(AuthorizationsKept, h.rb.Step(Capture), "leave `capture: false` out of the profile unless the table never changes",
				"changes of table %s are not captured: what blue writes there after the copy comes along only with other rows", t.Name)
		}
	}
}

func (h *hazards) revocations() {
	switched := h.rb.Step(Cutover)
	if switched == nil {
		return
	}
	if len(h.p.Revocations) == 0 {
		h.add(RevocationsKept, switched, "describe them under `revocations:` in the profile",
			"profile %s does not say what a revocation is: deletions are replayed, but none is verified on green", h.p.Name)
	}
	for _, r := range h.p.Revocations {
		if r.Green.Apply == "" {
			h.add(RevocationsKept, switched, "add green.apply to it in the profile", "revocation %q can't be put in force on green", r.Kind)
		}
		if r.Green.Living == "" {
			h.add(RevocationsKept, switched, "add green.living to it in the profile", "revocation %q can't be verified on green", r.Kind)
		}
		if t := h.p.Table(r.Blue.Table); t == nil || t.Judge == "" || !t.Captured() {
			h.add(RevocationsKept, switched, "name a captured table with a `judge` in its blue.table",
				"revocation %q is not recognised on blue", r.Kind)
		}
		if r.Green.Table == "" || r.Green.Judge == "" {
			h.add(WayBack, switched, "add green.table and green.judge to it in the profile",
				"revocation %q is not recognised on green: a rollback loses those made there", r.Kind)
		}
		if r.Blue.Apply == "" {
			h.add(WayBack, switched, "add blue.apply to it in the profile", "revocation %q can't be carried back to blue by a rollback", r.Kind)
		}
	}
	if h.p.Green.LivingOnly == "" {
		h.add(WayBack, switched, "add green.living_only to the profile", "a rollback can't name the sessions that only green knows")
	}
}
