// Command tideover upgrades a live OAuth server and its Postgres database with no downtime and nothing lost.
package main

import (
	"os"

	"github.com/tideover/tideover/cmd"
)

func main() { os.Exit(cmd.Main(os.Args[1:])) }
