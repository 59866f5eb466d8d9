package journaltest_test

import (
	"testing"

	"github.com/tideover/tideover/internal/journal/journaltest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	journaltest.Test(t, func(testing.TB) journaltest.Store { return journaltest.NewMemory() })
}
