package snapshot

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Progress is how far a copy is. Bytes are as blue's disk counts them.
type Progress struct {
	Done, Total int64
	Rows        int64         // copied by this call
	Left        time.Duration // until all rows are over, at the pace so far; 0: not known
	Note        string        // what is done besides, or why the copy holds
	Tables      []TableProgress
}

// TableProgress is how far a table is that is being copied.
type TableProgress struct {
	Table       string
	Done, Total int64
	Rows        int64
	Left        time.Duration // at the table's own pace so far; 0: not known
}

// showEvery bounds how often a caller is told.
const showEvery = 100 * time.Millisecond

// meter counts what goes over.
type meter struct {
	tell func(Progress) // may be nil

	mu     sync.Mutex
	began  time.Time
	shown  time.Time
	old    int64 // bytes that were there before
	done   int64
	total  int64
	rows   int64
	note   string
	held   string
	tables map[uint32]*tally
}

// tally is the meter of one table.
type tally struct {
	name              string
	began             time.Time
	old, done, total  int64
	rows              int64
	under             int // parts under way
	moved, movedTotal map[int64]int64
}

func newMeter(tell func(Progress)) *meter {
	return &meter{tell: tell, began: time.Now(), tables: map[uint32]*tally{}}
}

// expect says what there is, and what of it is yet to be copied.
func (m *meter) expect(all []relation, todo []part) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range all {
		m.tables[r.oid] = &tally{name: r.String(), total: r.bytes, old: r.bytes, moved: map[int64]int64{}, movedTotal: map[int64]int64{}}
		m.total += r.bytes
	}
	m.old = m.total
	for _, p := range todo {
		m.old -= p.size()
		m.tables[p.oid].old -= p.size()
	}
	m.began = time.Now()
	m.show(true)
}

func (m *meter) begin(p part) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.tables[p.oid]
	if t.began.IsZero() {
		t.began = time.Now()
	}
	t.under++
	t.movedTotal[p.from] = p.size()
	m.show(true)
}

// moved counts what has gone over. The bytes of a COPY are not those of the disk: a part is full at its size at most.
func (m *meter) moved(p part, bytes, rows int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.tables[p.oid]
	bytes = min(bytes, t.movedTotal[p.from]-t.moved[p.from])
	t.moved[p.from] += bytes
	t.done, m.done = t.done+bytes, m.done+bytes
	t.rows, m.rows = t.rows+rows, m.rows+rows
	m.show(false)
}

// end counts the rest of a part that is over.
func (m *meter) end(p part) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.tables[p.oid]
	rest := t.movedTotal[p.from] - t.moved[p.from]
	t.moved[p.from] += rest
	t.done, m.done = t.done+rest, m.done+rest
	t.under--
	m.show(true)
}

// say names what is done besides copying rows.
func (m *meter) say(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.note = text
	m.show(true)
}

// hold says why the copy holds; "": it goes on.
func (m *meter) hold(reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = reason
	m.show(true)
}

func (m *meter) show(always bool) {
	now := time.Now()
	if m.tell == nil || !always && now.Sub(m.shown) < showEvery {
		return
	}
	m.shown = now
	p := Progress{Done: m.old + m.done, Total: m.total, Rows: m.rows, Left: left(now.Sub(m.began), m.done, m.total-m.old), Note: cmp.Or(m.held, m.note)}
	for _, t := range m.tables {
		if t.under > 0 {
			p.Tables = append(p.Tables, TableProgress{Table: t.name, Done: t.old + t.done, Total: t.total, Rows: t.rows,
				Left: left(now.Sub(t.began), t.done, t.total-t.old)})
		}
	}
	slices.SortFunc(p.Tables, func(a, b TableProgress) int { return cmp.Compare(a.Table, b.Table) })
	m.tell(p)
}

// left is how long the rest of total takes at the pace of done; 0 where too little is known.
func left(elapsed time.Duration, done, total int64) time.Duration {
	if done <= 0 || done >= total || elapsed < time.Second {
		return 0
	}
	return time.Duration(float64(elapsed) * float64(total-done) / float64(done)).Round(time.Second)
}
