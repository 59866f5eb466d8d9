package postgres_test

import (
	"os"
	"testing"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.RunTests(m)) }
