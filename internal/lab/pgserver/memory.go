package pgserver

import "syscall"

const (
	// memoryDir is where Linux has a file system in memory that everybody may write to.
	memoryDir = "/dev/shm"
	// memoryRoom is what must be free there: servers side by side, each with a log of 2 GB (max_wal_size) and its tables.
	memoryRoom = 8 << 30
)

func hasRoom(dir string) bool {
	var s syscall.Statfs_t
	return syscall.Statfs(dir, &s) == nil && s.Bavail*uint64(s.Bsize) > memoryRoom
}
