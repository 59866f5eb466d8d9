package report

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
)

// Thousands writes a number with a comma before every third digit: 1,204,331.
func Thousands[T ~int | ~int64](n T) string { return humanize.Comma(int64(n)) }

// Bytes writes a number of bytes in powers of 1024, in three digits or so: 1.5 GB.
func Bytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/1024, 0
	for f >= 999.5 && unit < 4 {
		f, unit = f/1024, unit+1
	}
	if f < 9.95 {
		return fmt.Sprintf("%.1f %cB", f, "KMGTP"[unit])
	}
	return fmt.Sprintf("%.0f %cB", f, "KMGTP"[unit])
}

// Took writes a length of time for people: 0.8s, 42s, 3m05s, 2h07m. What is negative (two clocks) is 0.
func Took(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < 9950*time.Millisecond:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < 59500*time.Millisecond:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour-500*time.Millisecond:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
}

func seconds(s float64) string { return Took(time.Duration(s * float64(time.Second))) }

// millis writes milliseconds without false precision: 0.82, 12.1, 842.
func millis(ms float64) string {
	switch {
	case ms >= 100:
		return Thousands(int64(ms+0.5)) + " ms"
	case ms >= 1:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.2f ms", ms)
}
