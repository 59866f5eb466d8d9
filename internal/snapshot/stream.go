package snapshot

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// streamBuffer is how much of a table is in our memory at a time. COPY hands out a row a message; without a buffer
// every row would change goroutines.
const streamBuffer = 256 << 10

// stream copies one table's rows from a session on blue to one on green. What has gone over is told to moved, in bytes.
// freeze says that green's table was created or emptied in the transaction under way, so that its rows need no later
// visit by vacuum (manual, COPY, FREEZE).
//
// An error on blue's side reaches green as an error, never as an early end of the data: the COPY fails as a whole.
func stream(ctx context.Context, blue, green *pgx.Conn, r relation, freeze bool, moved func(int64)) (int64, error) {
	format := "text"
	if r.binary {
		format = "binary"
	}
	columns := "(" + list(r.columns) + ")"
	if len(r.columns) == 0 {
		columns = "" // a table without columns has rows all the same
	}
	out := fmt.Sprintf("COPY %s %s TO STDOUT (FORMAT %s)", r.identifier().Sanitize(), columns, format)
	if r.root { // COPY reads no partitioned table by its name
		from := list(r.columns)
		out = fmt.Sprintf("COPY (SELECT %s FROM %s) TO STDOUT (FORMAT %s)", from, r.identifier().Sanitize(), format)
	}
	in := fmt.Sprintf("COPY %s %s FROM STDIN (FORMAT %s, FREEZE %t)", r.identifier().Sanitize(), columns, format, freeze && !r.root)

	reader, writer := io.Pipe()
	buffer := bufio.NewWriterSize(&counter{writer, moved}, streamBuffer)
	var rows int64
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		_, err := blue.PgConn().CopyTo(ctx, buffer, out)
		if err == nil {
			err = buffer.Flush()
		}
		writer.CloseWithError(err) // nil is the end of the data
		if err != nil {
			return fmt.Errorf("table %s: read from blue: %w", r, err)
		}
		return nil
	})
	group.Go(func() error {
		tag, err := green.PgConn().CopyFrom(ctx, reader, in)
		reader.CloseWithError(err)
		if err != nil {
			return fmt.Errorf("table %s: write to green: %w", r, err)
		}
		rows = tag.RowsAffected()
		return nil
	})
	return rows, group.Wait()
}

// counter tells how much has been written.
type counter struct {
	io.Writer
	moved func(int64)
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	if c.moved != nil {
		c.moved(int64(n))
	}
	return n, err
}
