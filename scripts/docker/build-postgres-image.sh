#!/bin/bash
# Builds the image postgres:MAJOR from a Postgres that is installed on this machine: no registry, no network.
# It behaves as the official image does as far as our tests and the demo use it. Does nothing where the tag exists.
#
#   scripts/docker/build-postgres-image.sh [PREFIX [TAG]]
#
# PREFIX is a folder with bin/postgres in it (default: the newest in /usr/lib/postgresql).
set -euo pipefail
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
prefix=${1:-$(ls -d /usr/lib/postgresql/* 2>/dev/null | sort -V | tail -n 1)}
[ -x "$prefix/bin/postgres" ] || { echo "build-postgres-image: no Postgres in '$prefix': install one (apt-get install postgresql)" >&2; exit 1; }
major=$("$prefix/bin/postgres" -V | grep -oE '[0-9]+' | head -n 1)
tag=${2:-postgres:$major}

docker version >/dev/null 2>&1 || { echo "build-postgres-image: no Docker engine answers: eval \"\$($here/start-engine.sh)\"" >&2; exit 1; }
if docker image inspect "$tag" >/dev/null 2>&1; then exit 0; fi
command -v cpio >/dev/null || apt-get install -y -qq cpio >&2

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# 1. A file system as merged-/usr distributions have it, and the few programs that the entrypoint needs.
mkdir -p "$root"/{usr/{bin,lib,lib64},etc,tmp,run/postgresql,var/lib/postgresql/data,docker-entrypoint-initdb.d,proc,sys,dev,root}
for d in bin lib lib64; do ln -s "usr/$d" "$root/$d"; done
ln -s ../run "$root/var/run"
chmod 1777 "$root/tmp"
for tool in bash ls cat mkdir chmod chown id rm mv cp sleep gzip gunzip setpriv grep sed head tail env true sync stat date find locale; do
	cp -L "$(type -P "$tool")" "$root/usr/bin/"
done
ln -s bash "$root/usr/bin/sh"

# 2. The Postgres, without what only building against it needs.
mkdir -p "$root$prefix"
(cd "$prefix" && find . \( -path ./lib/bitcode -o -name pgxs -o -name 'llvmjit*' -o -name '*.a' -o -name pkgconfig \) -prune \
	-o \( -type f -o -type l \) -print | cpio -pdm --quiet "$root$prefix")
chmod 755 "$root$prefix"/bin/*
for program in psql pg_isready; do # a server-only build borrows the machine's clients
	[ -e "$root$prefix/bin/$program" ] || cp -L "$(ls -d /usr/lib/postgresql/*/bin/$program | sort -V | tail -n 1)" "$root/usr/bin/"
done
for program in "$root$prefix"/bin/*; do ln -sf "$prefix/bin/${program##*/}" "$root/usr/bin/${program##*/}"; done
share=/usr/share/postgresql/$major # Debian keeps it apart from the prefix
if [ ! -d "$prefix/share" ] && [ -d "$share" ]; then
	mkdir -p "$root/usr/share/postgresql"
	cp -aL "$share" "$root/usr/share/postgresql/"
	rm -rf "$root$share/man"
fi

# 3. Time zones, the C.UTF-8 locale, and each shared library that a copied file names, at its own path.
mkdir -p "$root/usr/share/zoneinfo" "$root/usr/lib/locale"
cp -a /usr/share/zoneinfo/. "$root/usr/share/zoneinfo/"
rm -rf "$root"/usr/share/zoneinfo/{right,posix}
[ ! -d /usr/lib/locale/C.utf8 ] || cp -a /usr/lib/locale/C.utf8 "$root/usr/lib/locale/"
{ find "$root" -type f \( -perm -u+x -o -name '*.so*' \) -print0 | xargs -0 -n1 ldd 2>/dev/null || true; } |
	grep -oE '/[^ ]+\.so[^ ]*' | grep -v "^$root" | sort -u |
	while read -r library; do
		mkdir -p "$root${library%/*}"
		[ -e "$root$library" ] || cp -L "$library" "$root$library"
	done

# 4. Accounts, and the entrypoint.
printf 'root:x:0:0:root:/root:/bin/bash\npostgres:x:999:999::/var/lib/postgresql:/bin/bash\n' >"$root/etc/passwd"
printf 'root:x:0:\npostgres:x:999:\n' >"$root/etc/group"
printf 'hosts: files dns\npasswd: files\ngroup: files\n' >"$root/etc/nsswitch.conf"
ln -s /usr/share/zoneinfo/Etc/UTC "$root/etc/localtime"
chown -R 999:999 "$root/var/lib/postgresql" "$root/run/postgresql"
chmod 2777 "$root/run/postgresql"
install -m 755 "$here/entrypoint.sh" "$root/usr/bin/docker-entrypoint.sh"

# docker import takes neither STOPSIGNAL nor several other settings: a build without a context puts them on top.
tar -C "$root" --sort=name --mtime=@0 --numeric-owner -cf - . | docker import - "$tag-rootfs" >/dev/null
DOCKER_BUILDKIT=0 docker build -q -t "$tag" - >/dev/null <<DOCKERFILE
FROM $tag-rootfs
ENV PATH=/usr/local/bin:/usr/bin:/bin PG_MAJOR=$major PGDATA=/var/lib/postgresql/data LANG=C.UTF-8
VOLUME /var/lib/postgresql/data
EXPOSE 5432
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
DOCKERFILE
echo "build-postgres-image: built $tag" >&2
