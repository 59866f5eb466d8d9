package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/snapshot"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/replay"
)

// afterFirst calls f once, when the first part of a copy is on green.
func afterFirst(o *snapshot.Options, f func() error) {
	var once sync.Once
	o.Jobs, o.PartDone = 1, func(context.Context, string, int64) (err error) {
		once.Do(func() { err = f() })
		return err
	}
}

// execute runs statements one by one. Unlike run it may be called from any goroutine.
func execute(ctx context.Context, dsn, statements string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for s := range strings.SplitSeq(statements, ";") {
		if _, err := conn.Exec(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// pieces is a size that the tables of cutTables are several of.
const pieces = 1 << 20

func cutCopy(t *testing.T) (o snapshot.Options, blueDSN, greenDSN string) {
	t.Helper()
	blueDSN, greenDSN = pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	run(t, blueDSN, cutTables)
	o = snapshot.Options{Blue: open(t, "blue", blueDSN), Green: open(t, "green", greenDSN), Profile: cutProfile, Triggers: true, Chunk: pieces}
	capture(t, o)
	return o, blueDSN, greenDSN
}

// hinted fails the test where err does not tell a person what to do.
func hinted(t *testing.T, err error) {
	t.Helper()
	var h interface{ Hint() string }
	if !errors.As(err, &h) || h.Hint() == "" {
		t.Errorf("error %v has no hint", err)
	}
}

func TestCopyGoesOnAfterATableWasRewritten(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for name, statement := range map[string]string{
		"vacuum full": `DELETE FROM b WHERE id % 3 = 0; DELETE FROM a WHERE id % 3 = 0; VACUUM FULL a`,
		"truncate":    `TRUNCATE a CASCADE; INSERT INTO a SELECT i, 'new' FROM generate_series(1, 100) i`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, blueDSN, greenDSN := cutCopy(t)
			afterFirst(&o, func() error { return execute(t.Context(), blueDSN, statement) })
			_, err := snapshot.Copy(t.Context(), o)
			var rewritten *snapshot.RewrittenError
			if !errors.As(err, &rewritten) || rewritten.Table != "public.a" {
				t.Fatalf("error %v; want a RewrittenError of a", err)
			}
			hinted(t, err)
			o.PartDone = nil
			if _, err := snapshot.Copy(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			same(t, blueDSN, greenDSN)
		})
	}
}

func TestCopyNoticesADifferentSchema(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for name, statement := range map[string]string{
		"column": `ALTER TABLE a ADD COLUMN late int`, "index": `CREATE INDEX ON b (a)`, "table": `CREATE TABLE late (id int PRIMARY KEY)`,
		"dropped column": `ALTER TABLE c DROP COLUMN w`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, blueDSN, greenDSN := cutCopy(t)
			afterFirst(&o, func() error { return execute(t.Context(), blueDSN, statement) })
			_, err := snapshot.Copy(t.Context(), o)
			if err == nil {
				t.Fatal("the copy did not notice")
			}
			hinted(t, err)
			o.PartDone = nil
			if _, err := snapshot.Copy(t.Context(), o); !errors.Is(err, snapshot.ErrSchemaChanged) {
				t.Errorf("error %v on resume; want ErrSchemaChanged", err)
			}
			if err := snapshot.Clear(t.Context(), o.Green, "public"); err != nil {
				t.Fatal(err)
			}
			if _, err := snapshot.Copy(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			same(t, blueDSN, greenDSN)
		})
	}
}

func TestCopyDoesNotGoOnWithoutCapture(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	o, _, _ := cutCopy(t)
	afterFirst(&o, func() error { return errors.New("cut") })
	if _, err := snapshot.Copy(t.Context(), o); err == nil {
		t.Fatal("no error")
	}
	if err := replay.NewCapture(o.Blue, o.Profile, plan.Blue).Remove(t.Context(), postgres.Budget{}); err != nil {
		t.Fatal(err)
	}
	o.PartDone = nil
	var lost *snapshot.NotCapturedError
	if _, err := snapshot.Copy(t.Context(), o); !errors.As(err, &lost) {
		t.Errorf("without capture: %v; want a NotCapturedError", err)
	}
	capture(t, o) // another capture knows nothing of what was in between
	if _, err := snapshot.Copy(t.Context(), o); !errors.As(err, &lost) {
		t.Errorf("with another capture: %v; want a NotCapturedError", err)
	}
	hinted(t, lost)
}

// Where changes are read from somewhere else than triggers, all that was copied is copied again, at one moment.
func TestCopyGoesOnWithoutTriggers(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	o, blueDSN, greenDSN := cutCopy(t)
	o.Triggers = false
	if err := replay.NewCapture(o.Blue, o.Profile, plan.Blue).Remove(t.Context(), postgres.Budget{}); err != nil {
		t.Fatal(err)
	}
	afterFirst(&o, func() error { return errors.New("cut") })
	if _, err := snapshot.Copy(t.Context(), o); err == nil {
		t.Fatal("no error")
	}
	run(t, blueDSN, `DELETE FROM b WHERE id % 3 = 0; UPDATE a SET v = v; INSERT INTO a VALUES (100000, 'late'); INSERT INTO b VALUES (100000, 100000)`)
	o.PartDone = nil
	if _, err := snapshot.Copy(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	same(t, blueDSN, greenDSN)
}

// A table that the profile does not name is copied again as a whole.
func TestCopyGoesOnWithTablesThatNobodyRecords(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	o, blueDSN, greenDSN := cutCopy(t)
	run(t, blueDSN, `CREATE TABLE unnamed (id int PRIMARY KEY, v text); INSERT INTO unnamed SELECT i, repeat('y', 2000) FROM generate_series(1, 15000) i`)
	afterFirst(&o, func() error { return errors.New("cut") })
	if _, err := snapshot.Copy(t.Context(), o); err == nil {
		t.Fatal("no error")
	}
	run(t, blueDSN, `DELETE FROM unnamed WHERE id % 2 = 0; UPDATE unnamed SET v = 'z' WHERE id < 100; UPDATE a SET v = v; DELETE FROM b WHERE id < 50; INSERT INTO a VALUES (100000, 'late')`)
	o.PartDone = nil
	if _, err := snapshot.Copy(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	same(t, blueDSN, greenDSN)
}

func TestCopyGoesOnAfterBlueRestarted(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	server := pgtest.NewServer(t, pgserver.Options{Name: "blue", Fsync: true})
	blueDSN, err := server.CreateDatabase(t.Context(), "blue")
	if err != nil {
		t.Fatal(err)
	}
	greenDSN := pgtest.NewDatabase(t)
	run(t, blueDSN, cutTables)
	o := snapshot.Options{Blue: open(t, "blue", blueDSN), Green: open(t, "green", greenDSN), Profile: cutProfile, Triggers: true, Chunk: pieces}
	capture(t, o)
	afterFirst(&o, func() error { return errors.Join(server.Kill(t.Context()), server.Restart(t.Context())) })
	_, err = snapshot.Copy(t.Context(), o)
	if err == nil {
		t.Fatal("the copy did not notice")
	}
	hinted(t, err)
	run(t, blueDSN, `UPDATE a SET v = 'after the restart' WHERE id % 10 = 0; DELETE FROM b WHERE id % 10 = 0`)
	o.PartDone = nil
	if _, err := snapshot.Copy(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	same(t, blueDSN, greenDSN)
}

// proxy passes connections on to a server until it is cut: then they are reset, with whatever was under way.
type proxy struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func newProxy(t *testing.T, dsn string) (p *proxy, through string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	target := u.Host
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p = &proxy{Listener: l}
	t.Cleanup(func() { _ = l.Close(); p.cut() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := new(net.Dialer).DialContext(context.WithoutCancel(t.Context()), "tcp4", target)
			if err != nil {
				_ = near.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, near, far)
			p.mu.Unlock()
			for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
				go func() { _, _ = io.Copy(pair[0], pair[1]); _ = pair[0].Close() }()
			}
		}
	}()
	u.Host = l.Addr().String()
	return p, u.String()
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
	p.conns = nil
}

func TestCopyGoesOnAfterADroppedConnection(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for _, side := range []string{"blue", "green"} {
		t.Run(side, func(t *testing.T) {
			t.Parallel()
			o, blueDSN, greenDSN := cutCopy(t)
			var p *proxy
			var through string
			if side == "blue" {
				p, through = newProxy(t, blueDSN)
				o.Blue = open(t, "blue", through)
			} else {
				p, through = newProxy(t, greenDSN)
				o.Green = open(t, "green", through)
			}
			var once sync.Once
			o.Progress = func(c snapshot.Progress) {
				if c.Done > c.Total/3 && len(c.Tables) > 0 {
					once.Do(p.cut)
				}
			}
			_, err := snapshot.Copy(t.Context(), o)
			if err == nil {
				t.Fatal("the copy did not notice")
			}
			hinted(t, err)
			for _, dsn := range []string{blueDSN, greenDSN} {
				nobodyWorks(t, dsn)
			}
			o.Progress = nil
			if _, err := snapshot.Copy(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			same(t, blueDSN, greenDSN)
		})
	}
}

func TestCopyHoldsWhileBlueIsBusy(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	o, blueDSN, greenDSN := cutCopy(t)
	sleep, wake := context.WithCancel(t.Context())
	defer wake()
	var sleepers sync.WaitGroup
	for range 2 {
		conn := connect(t, blueDSN)
		sleepers.Go(func() { _, _ = conn.Exec(sleep, `SELECT pg_sleep(600)`) })
	}
	for busy := 0; busy < 2; { // they are on their way
		if err := connect(t, blueDSN).QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND state = 'active'
			AND datname = current_database() AND pid <> pg_backend_pid()`).Scan(&busy); err != nil {
			t.Fatal(err)
		}
	}
	held := 0
	o.Pace = snapshot.Pace{MaxActive: 1, MaxLag: time.Hour, MaxRate: 1 << 40}
	o.Progress = func(p snapshot.Progress) {
		if strings.Contains(p.Note, "2 sessions are at work on blue, at most 1 are allowed (max_active)") {
			held++
			wake()
		}
	}
	if _, err := snapshot.Copy(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	sleepers.Wait()
	if held == 0 {
		t.Error("the copy did not hold, or did not say why")
	}
	same(t, blueDSN, greenDSN)
}

func TestCopyKeepsToItsRate(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	o, blueDSN, _ := cutCopy(t)
	var bytes int64
	if err := connect(t, blueDSN).QueryRow(t.Context(), `SELECT sum(pg_column_size(v)) FROM c`).Scan(&bytes); err != nil {
		t.Fatal(err)
	}
	o.Pace.MaxRate = 1_500_000 // over a database with that much in its smallest column alone
	began := time.Now()
	if _, err := snapshot.Copy(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if took, least := time.Since(began), time.Duration(float64(bytes-512<<10)/1.5e6*float64(time.Second)); took < least {
		t.Errorf("%d bytes took %s; at 1.5 MB a second it is %s at least", bytes, took, least)
	}
}

func TestCopyOfAHugeRowNeedsLittleMemory(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	blueDSN, greenDSN := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	run(t, blueDSN, `CREATE TABLE huge (id int PRIMARY KEY, v text, b bytea); ALTER TABLE huge ALTER v SET STORAGE EXTERNAL;
		INSERT INTO huge SELECT i, repeat(md5(i::text), 3200000), NULL FROM generate_series(1, 2) i; INSERT INTO huge VALUES (3, NULL, decode(repeat('00ff', 25000000), 'hex'))`)
	c := childCopy{Blue: blueDSN, Green: greenDSN, BinDir: pgtest.Shared(t).BinDir(), Jobs: 2}.command(t.Context())
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := peak(t, out); got > 200<<20 {
		t.Errorf("the copy took %d MiB; want less than 200", got>>20)
	}
	const sum = `SELECT string_agg(id || md5(coalesce(v, '')) || md5(coalesce(b, '')), ',' ORDER BY id) FROM huge`
	var blue, green string
	if err := connect(t, blueDSN).QueryRow(t.Context(), sum).Scan(&blue); err != nil {
		t.Fatal(err)
	}
	if err := connect(t, greenDSN).QueryRow(t.Context(), sum).Scan(&green); err != nil || blue != green {
		t.Errorf("the rows differ (%v)", err)
	}
}

func TestPrivilegesComeAlongWhereWanted(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	blueDSN, greenDSN := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	role := fmt.Sprintf("reader_%d", time.Now().UnixNano())
	run(t, blueDSN, `CREATE ROLE `+role+`; CREATE TABLE t (id int PRIMARY KEY); GRANT SELECT ON t TO `+role+`; ALTER TABLE t OWNER TO `+role)
	defer run(t, blueDSN, `DROP OWNED BY `+role+`; DROP ROLE `+role)
	defer run(t, greenDSN, `DROP OWNED BY `+role)
	o := snapshot.Options{Blue: open(t, "blue", blueDSN), Green: open(t, "green", greenDSN), Privileges: true}
	if _, err := snapshot.Copy(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	same(t, blueDSN, greenDSN)
}
