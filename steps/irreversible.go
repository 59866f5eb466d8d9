package steps

// Irreversible is a step that can't be taken back, and says so: once begun, it is a point of no return.
type Irreversible interface{ Irreversible() }

// pointOfNoReturn is embedded by steps that can't be taken back.
type pointOfNoReturn struct{}

// Irreversible marks the step.
func (pointOfNoReturn) Irreversible() {}
