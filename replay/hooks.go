package replay

import "context"

// hooks let tests break the mechanism, to prove that the tests would see it.
type hooks struct {
	at      func(point string) error                          // called at points where a crash hurts most
	scratch func(ctx context.Context) (dsn string, err error) // gives databases of blue's empty schema, and keeps them

	keepApplied   bool // keep applied changes in the queue, to count them
	watermark     bool // claim above the highest transaction seen
	noClosure     bool // bring the changed rows alone
	noLedger      bool
	matchOnly     bool // replace by one key, not by every unique one
	firstChange   bool // collapse a key's changes to the first rather than all
	noRevocations bool // pass over what was revoked
}

func (h hooks) reach(point string) error {
	if h.at == nil {
		return nil
	}
	return h.at(point)
}

// passOver leaves out what was revoked, where noRevocations is set.
func (h hooks) passOver(claimed []change) []change {
	if !h.noRevocations {
		return claimed
	}
	var rest []change
	for _, c := range claimed {
		if c.kind != "revoked" {
			rest = append(rest, c)
		}
	}
	return rest
}
