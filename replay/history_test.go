package replay

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/postgres"
)

var oneSeed = flag.Int64("seed", -1, "play the history of this seed alone")

// history is one play: writers on blue, the bulk copy in their midst, batches that crash, the fence, the last replay,
// and at times the way back. All that happens is drawn from the seed, and one goroutine plays all of it.
type history struct {
	*arena
	rng      *rand.Rand
	fenceSQL string // makes another fence of blue's
	migrator Migrator
	model    *authorities
	writers  *writers
	replayer *Replayer
	audit    *Audit
	crashes  int // that may still come
	zombies  int
	busy     bool
	cut      bool // a connection was cut, which is an error that may come up
	cancel   context.CancelFunc
}

// play returns what is wrong after the history of a seed: a finding. A trouble is an error of the test itself. fenceSQL
// is run on blue first.
func (a *arena) play(ctx context.Context, seed uint64, fenceSQL string) (finding error) {
	rng := rand.New(rand.NewPCG(seed, 7))
	h := &history{arena: a, rng: rng, fenceSQL: fenceSQL, migrator: a, model: newAuthorities(), crashes: 4, zombies: 2}
	if seed%16 == 15 {
		h.migrator = goose(version20)
	}
	h.writers = &writers{rng: rng, model: h.model, do: blueAction, free: append([]*pgx.Conn(nil), a.sessions...), impasse: a.impasse}
	defer func() {
		switch e := recover().(type) {
		case nil:
		case trouble:
			finding = e
		default:
			panic(e)
		}
	}()
	a.clear(ctx)
	h.begin(ctx)
	must(a.empty(ctx, a.green.DSN()))
	defer func() { finding = errors.Join(finding, h.close(context.WithoutCancel(ctx))) }()
	return h.run(h.in(ctx))
}

// begin fills blue with something that all later actions can work on.
func (h *history) begin(ctx context.Context) {
	if h.fenceSQL != "" {
		_, err := h.blue.Pool().Exec(ctx, h.fenceSQL, pgx.QueryExecModeSimpleProtocol)
		must(err)
	}
	x := h.writers.begin(ctx, pgx.ReadCommitted)
	_, err := x.Exec(ctx, seedSQL, pgx.QueryExecModeSimpleProtocol)
	must(err)
	x.tell("client", `SELECT id FROM oauth_client`)
	x.tell("consent", `SELECT challenge FROM oauth_consent_request`)
	for _, row := range x.rows(`SELECT ` + tokenColumns + ` FROM oauth_access UNION ALL SELECT ` + tokenColumns + ` FROM oauth_refresh`) {
		x.facts = append(x.facts, fact{"token", row[0], token{row[1], row[2], row[3], true}})
	}
	h.writers.end(x, true)
	h.writers.steps(ctx, h.rng.IntN(40))
}

func (h *history) run(ctx context.Context) error {
	h.bulk(ctx, h.green, h.migrator)
	if err := h.takeOver(); err != nil {
		return err
	}
	for range 1 + h.rng.IntN(3) {
		h.writers.steps(ctx, 15+h.rng.IntN(30))
		if err := h.batch(ctx); err != nil {
			return err
		}
	}
	if err := h.raise(ctx); err != nil {
		return err
	}
	if err := h.drain(ctx); err != nil {
		return err
	}
	h.lateWriters(ctx)
	if err := h.verify(ctx); err != nil {
		return err
	}
	if h.rng.IntN(4) > 0 {
		return nil
	}
	return h.wayBack(ctx)
}

// takeOver lets another process go on.
func (h *history) takeOver() error {
	if h.replayer != nil {
		h.replayer.Disconnect()
	}
	r, err := h.another()
	if err == nil {
		h.replayer, h.audit = r, NewAudit(r, 1)
	}
	return err
}

func (h *history) another() (*Replayer, error) {
	c := Config{
		Blue: h.blue, Green: h.green, Profile: h.profile, Migrator: h.migrator, Batch: 8 + h.rng.IntN(100),
		Rules:  cleanup.New(h.profile.Rules, cleanup.Options{Collect: true}),
		Schema: func(ctx context.Context, into string) error { return goose(version11).Migrate(ctx, into) },
		Source: h.newSource(),
	}
	return NewReplayer(c)
}

func (h *history) close(ctx context.Context) error {
	if h.replayer == nil {
		return nil
	}
	defer h.replayer.Disconnect()
	return h.replayer.scratch.close(ctx)
}

// in is a context in which batches meet what the history has for them.
func (h *history) in(ctx context.Context) context.Context {
	p := points{at: h.at}
	if h.migrator == Migrator(h.arena) {
		p.scratch = h.scratch
	}
	return p.in(ctx)
}

// at is what befalls a batch at one of its points: a crash, a cancelled context, servers that go on writing, or a
// process that is taken for dead and is not.
func (h *history) at(point string) error {
	ctx := h.in(context.Background())
	if h.busy { // a batch within a batch
		return nil
	}
	switch n := h.rng.IntN(16); {
	case n == 0 && h.crashes > 0:
		h.crashes--
		return fmt.Errorf("%w: %s", errCrash, point)
	case n == 1 && h.crashes > 0 && h.cancel != nil:
		h.crashes--
		h.cancel()
	case n <= 4 && h.cancel != nil: // blue is not fenced yet
		h.writers.steps(ctx, 1+h.rng.IntN(5))
	case n <= 8 && h.zombies > 0 && point == "staged":
		h.zombies--
		return h.zombie(ctx)
	}
	return nil
}

// zombie lets another process take over, and this one go on: its session on blue is gone, its batch is not.
func (h *history) zombie(ctx context.Context) error {
	h.busy, h.cut = true, true
	defer func() { h.busy = false }()
	const kill = `SELECT pg_terminate_backend($1, 5000)`
	if _, err := h.blue.Pool().Exec(ctx, kill, h.replayer.conn.PgConn().PID()); err != nil {
		return err
	}
	if h.cancel != nil {
		h.writers.steps(ctx, 10+h.rng.IntN(40))
	}
	other, err := h.another()
	if err != nil {
		return err
	}
	defer other.Disconnect()
	_, err = other.Batch(ctx)
	return err
}

// batch applies one batch; what was meant to go wrong may.
func (h *history) batch(ctx context.Context) error {
	ctx, h.cancel = context.WithCancel(ctx)
	defer func() { h.cancel(); h.cancel = nil }()
	a, err := h.replayer.Batch(ctx)
	if err == nil && h.rng.IntN(3) == 0 {
		_, err = h.audit.Page(ctx)
	}
	if err != nil && !h.meant(err) && ctx.Err() == nil {
		return fmt.Errorf("replay: %w", err)
	}
	if len(a.Parked) > 0 {
		return fmt.Errorf("parked: %q", a.Parked)
	}
	if err != nil || h.rng.IntN(6) == 0 {
		return h.takeOver()
	}
	return nil
}

// meant says whether an error is one that the history has caused itself.
func (h *history) meant(err error) bool {
	cut := h.cut && (errors.Is(err, io.ErrUnexpectedEOF) || postgres.Code(err) == "57P01" || pgconn.SafeToRetry(err))
	h.cut = false
	return cut || errors.Is(err, errCrash)
}

// raise raises the fence among writers under way. Those that have only read so far stay, with their old snapshots.
func (h *history) raise(ctx context.Context) error {
	for range 2 {
		if len(h.writers.free) > 0 && h.rng.IntN(2) == 0 {
			x := h.writers.begin(ctx, []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable}[h.rng.IntN(3)])
			x.rows(`SELECT count(*) FROM oauth_client`)
			x.late = true
		}
	}
	if h.fenceSQL != "" {
		_, err := h.blue.Pool().Exec(ctx, `UPDATE tideover.naive SET until = 9223372036854775807`)
		must(err)
	}
	raised := make(chan error, 1)
	go func() { raised <- h.fence.Raise(ctx, 0) }()
	for {
		up, err := h.fence.Raised(ctx)
		must(err)
		if up {
			break
		}
		time.Sleep(time.Millisecond) // between questions: the fence needs a processor, too
	}
	for _, x := range append([]*txn(nil), h.writers.open...) {
		if !x.late && h.rng.IntN(2) == 0 && h.writers.act(x) != "" {
			h.writers.end(x, false)
		}
	}
	h.writers.endAll(4)
	if err := <-raised; err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	return nil
}

// lateWriters write after the last replay. Nobody may get through.
func (h *history) lateWriters(ctx context.Context) {
	for len(h.writers.open) < 2 {
		h.writers.begin(ctx, pgx.ReadCommitted)
	}
	for _, x := range append([]*txn(nil), h.writers.open...) {
		x.late = false
		h.writers.end(x, h.writers.act(x) == "")
	}
}

// drain is the last replay, again where it crashes.
func (h *history) drain(ctx context.Context) error {
	for {
		a, err := h.replayer.Drain(ctx)
		switch {
		case err != nil && h.meant(err):
			if err := h.takeOver(); err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("replay: %w", err)
		case len(a.Parked) > 0:
			return fmt.Errorf("parked: %q", a.Parked)
		}
		return nil
	}
}

// verify asks the oracle, the model, and the replayer itself.
func (h *history) verify(ctx context.Context) error {
	if c := h.judge(ctx, h.migrator); c.Count > 0 {
		return fmt.Errorf("oracle: %d differences: %v", c.Count, c.Differences)
	}
	if err := hold(ctx, h.green, h.model.living()); err != nil {
		return err
	}
	v, err := h.replayer.Verify(ctx)
	must(err)
	if len(v.Differences) > 0 || v.Captured != v.Replayed || v.Replayed != v.Verified {
		return fmt.Errorf("verification: %+v", v)
	}
	var changes, marked, counted int64
	must(h.blue.Pool().QueryRow(ctx, `
SELECT count(*) + (SELECT count(*) FROM tideover.captured) + (SELECT count(*) FROM arena.ended), count(applied_at) + (SELECT count(*) FROM arena.ended),
	(SELECT applied FROM tideover.capture) FROM tideover.change`).
		Scan(&changes, &marked, &counted))
	if changes != marked || changes != counted {
		return fmt.Errorf("queue: of %d changes %d are marked and %d counted", changes, marked, counted)
	}
	return nil
}

// seeds are the histories that this run plays: one that is asked for, or as many as TIDEOVER_HISTORIES says, from a
// seed of the clock on; by itself the slice's of always the same total.
func seeds(t *testing.T, core, total int) []uint64 {
	t.Helper()
	if *oneSeed >= 0 {
		return []uint64{uint64(*oneSeed)}
	}
	var first uint64
	var numbers []int
	if text := os.Getenv("TIDEOVER_HISTORIES"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("TIDEOVER_HISTORIES is %q; it is how many histories are played", text)
		}
		first, total = uint64(time.Now().Unix())*100_000, max(1, n*total/histories)
		for i := range total {
			numbers = append(numbers, i)
		}
	} else {
		numbers = slice.Of(t, core, total)
	}
	var seeds []uint64
	for _, n := range numbers {
		seeds = append(seeds, first+uint64(n))
	}
	if len(seeds) > 0 {
		t.Logf("%d histories, seeds %d to %d", len(seeds), seeds[0], seeds[len(seeds)-1])
	}
	return seeds
}

// histories are played of the triggers' capture in ten runs.
const histories = 500

func TestHistories(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	if !withCrashPoints(t) {
		return
	}
	playAll(t, triggers, seeds(t, 20, histories))
}

// What comes out of the log, or out of the server's own table, must do as well.
func TestHistoriesOfOtherSources(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	if !withCrashPoints(t) {
		return
	}
	for _, source := range []string{logical, outbox} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			playAll(t, source, seeds(t, 2, histories/25))
		})
	}
}

// playAll plays histories, and says of each that finds something how to play just that one again.
func playAll(t *testing.T, source string, seeds []uint64) {
	t.Helper()
	each(t, source, 0, uint64(len(seeds)), func(a *arena, n uint64) bool {
		seed := seeds[n]
		began := time.Now()
		err := a.play(t.Context(), seed, "")
		if err != nil {
			t.Errorf("history %d (%s): %v\nonce more: %s -args -seed %d", seed, time.Since(began).Round(time.Millisecond), err, slice.Command(t.Name()), seed)
		}
		return err == nil
	})
}
