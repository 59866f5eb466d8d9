// Command hydra-v2 is Ory Hydra 2.3.0, unmodified. It is a module of its own, so that Hydra's 400 dependencies are none of
// ours; `make hydra` builds it into bin/hydra-v2.
package main

import "github.com/ory/hydra/v2/cmd"

func main() { cmd.Execute() }
