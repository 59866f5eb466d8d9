package pgserver

// localWatchdog waits for the owner's end, then stops the postmaster at once (SIGQUIT, "immediate shutdown",
// Postgres manual 19.5), removes the directory $1 and kills what is left of the process group, itself included.
//
// SIGQUIT goes to the whole group because initdb and its helpers are in it too; the shell itself ignores it. The
// postmaster is waited for, since it takes its own children (which have sessions of their own) down with it. It
// removes postmaster.pid last: kill -0 alone would wait for ever on a zombie that nobody collects.
const localWatchdog = `
trap '' HUP INT QUIT TERM
while read -r _; do :; done
read -r pid 2>/dev/null <"$1/data/postmaster.pid"
kill -QUIT 0
n=0
while [ -n "$pid" ] && [ -e "$1/data/postmaster.pid" ] && kill -0 "$pid" 2>/dev/null && [ $n -lt 400 ]; do
	sleep 0.02
	n=$((n + 1))
done
n=0
until rm -rf -- "$1" 2>/dev/null || [ $n -ge 100 ]; do
	sleep 0.02
	n=$((n + 1))
done
kill -KILL 0
`

// containerWatchdog waits for the owner's end, then removes the container named $2 and the directory $1. A word on
// the pipe says that the owner has removed the container itself. A creation can still be under way in the engine
// when the owner ends, so that a container that is not there yet is looked for again. Without the docker client
// this finds nothing, and the sweep of the next start removes the container.
const containerWatchdog = `
trap '' HUP INT QUIT TERM
removed=
while read -r word; do removed=$word; done
n=0
while [ -z "$removed" ] && [ $n -lt 20 ]; do
	docker inspect "$2" >/dev/null 2>&1 && docker rm -f -v "$2" >/dev/null 2>&1 && break
	sleep 0.25
	n=$((n + 1))
done
rm -rf -- "$1"
`
