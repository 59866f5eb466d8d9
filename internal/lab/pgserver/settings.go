package pgserver

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// settings are what our servers run with: enough of everything for snapshots, logical slots and prepared
// transactions, and no waiting for disks unless Fsync is wanted (Postgres manual 14.5, "Non-Durable Settings").
// synchronous_commit stays on: what its absence changes is seen by other sessions, not only by a crash.
func (o Options) settings() map[string]string {
	s := map[string]string{
		"shared_buffers":                  "128MB",
		"max_connections":                 "200",
		"wal_level":                       "logical",
		"max_wal_senders":                 "20",
		"max_replication_slots":           "20",
		"max_prepared_transactions":       "20",
		"max_wal_size":                    "2GB",
		"log_min_messages":                "warning",
		"timezone":                        "UTC",
		"password_encryption":             "scram-sha-256",
		"autovacuum_naptime":              "10s",
		"deadlock_timeout":                "1s",
		"fsync":                           "on",
		"full_page_writes":                "on",
		"max_logical_replication_workers": "8",
	}
	if !o.Fsync {
		s["fsync"], s["full_page_writes"] = "off", "off"
	}
	maps.Copy(s, o.Settings)
	return s
}

// configure writes the settings behind initdb's own, so that ours win. The port is given on the command line:
// it can change between two attempts to start.
func (c *cluster) configure(o Options) error {
	s := o.settings()
	s["listen_addresses"], s["unix_socket_directories"] = "127.0.0.1", "" // no socket: its path has a limit of 107 bytes
	f, err := os.OpenFile(filepath.Join(c.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, k := range slices.Sorted(maps.Keys(s)) {
		if strings.ContainsAny(k+s[k], "\n\x00") {
			return fmt.Errorf("setting %q: a line break in name or value", k)
		}
		if _, err := fmt.Fprintf(f, "%s = '%s'\n", k, strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(s[k])); err != nil {
			return err
		}
	}
	return f.Close()
}
