package preflight

import (
	"context"
	"errors"
	"fmt"

	"github.com/tideover/tideover/internal/roles"
)

// server says for which role green is made ready: what the migrations make belongs to ours.
func (c *check) server(ctx context.Context) error {
	const name, way = "server-role", "name the role that green's server connects as: green: {role: …}. It is given what it needs on what the migrations make"
	s, err := roles.Find(ctx, c.Blue, c.Green, c.schema, c.BlueRole, c.GreenRole)
	var unknown *roles.UnknownError
	switch {
	case errors.As(err, &unknown):
		c.add(Fail, name, unknown.Error(), unknown.Hint(), 0)
	case err != nil:
		return err
	case s.Green == "":
		c.add(Warn, name, fmt.Sprintf("nobody knows the role that green's server will connect as: green has no role %q, which blue's has. Whether it can work will not be looked at", s.Blue), way, 0)
	case !s.Named && s.Green != s.Ours:
		c.add(Warn, name, fmt.Sprintf("what the migrations make on green will belong to %q, while green's server is taken to connect as %q, which owns blue's tables: the run stops behind the migrations if that lacks a right", s.Ours, s.Green), way, 0)
	default:
		c.add(OK, name, fmt.Sprintf("green's server connects as %q", s.Green), "", 0)
	}
	return nil
}
