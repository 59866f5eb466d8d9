package report

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tideover/tideover/internal/journal"
)

func stored(n int64) journal.Event {
	return journal.Event{Seq: n, Step: "one", Kind: journal.StepFinished}
}

func progress(step string, n int) journal.Event {
	return journal.Event{Step: step, Kind: journal.StepProgress, Data: fmt.Appendf(nil, `{"done":%d}`, n)}
}

// A sink that stands still holds nobody up, and is told what it missed when it goes on.
func TestInboxOfAStandingSink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stand := make(chan struct{})
		var got []string
		b := newInbox(func(e journal.Event) {
			<-stand
			got = append(got, fmt.Sprintf("%d %s", e.Seq, Describe(e)))
		}, 3)
		b.Put(stored(1))
		synctest.Wait() // the sink has it, and stands
		for n := range 5 {
			b.Put(progress("one", n))
		}
		for n := int64(2); n <= 8; n++ {
			b.Put(stored(n))
		}
		if b.Close(time.Second) {
			t.Error("a sink that stands has had everything")
		}
		close(stand)
		synctest.Wait()
		text := strings.Join(got, "\n")
		if len(got) != 5 || !strings.HasPrefix(got[0], "1 ") || !strings.HasPrefix(got[3], "3 ") || !strings.Contains(got[4], "5 events could not be shown") {
			t.Errorf("the sink got\n%s", text)
		}
	})
}

func TestInboxKeepsOrder(t *testing.T) {
	t.Parallel()
	var got []int64
	b := NewInbox(func(e journal.Event) { got = append(got, e.Seq) })
	for n := int64(1); n <= 1000; n++ {
		b.Put(stored(n))
		b.Put(progress("one", int(n)))
	}
	if !b.Close(time.Minute) {
		t.Fatal("not everything was shown")
	}
	last := int64(0)
	for _, n := range got {
		if n != 0 && n != last+1 {
			t.Fatalf("%d after %d", n, last)
		}
		last = max(last, n)
	}
	if last != 1000 {
		t.Errorf("the last is %d", last)
	}
	b.Put(stored(1001)) // nobody is there any more
}

// The report is the last line, whatever was missed.
func TestInboxReportIsLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stand := make(chan struct{})
		var kinds []journal.Kind
		b := newInbox(func(e journal.Event) { <-stand; kinds = append(kinds, e.Kind) }, 1)
		b.Put(stored(1))
		synctest.Wait()
		b.Put(stored(2))
		b.Put(stored(3))
		b.Put(journal.Event{Kind: journal.RunReport})
		close(stand)
		if !b.Close(time.Minute) || len(kinds) != 4 || kinds[2] != journal.StepNote || kinds[3] != journal.RunReport {
			t.Errorf("%v", kinds)
		}
	})
}
