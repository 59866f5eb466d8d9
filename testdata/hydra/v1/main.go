// Command hydra-v1 is Ory Hydra 1.11.10, the last release of the 1.x line, unmodified. It is a module of its own, so that
// Hydra's 400 dependencies are none of ours; `make hydra` builds it into bin/hydra-v1.
package main

import "github.com/ory/hydra/cmd"

func main() { cmd.Execute() }
