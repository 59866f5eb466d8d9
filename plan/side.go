package plan

// Side is one of the two databases with its server.
type Side string

// The sides.
const (
	Blue  Side = "blue"  // in use
	Green Side = "green" // its successor
)
