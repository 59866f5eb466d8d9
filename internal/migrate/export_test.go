package migrate

// Arranged arranges the statements however small the database is.
func Arranged() Option { return func(g *Goose) { g.large = 0 } }
