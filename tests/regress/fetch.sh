#!/bin/bash
# Fetches PostgreSQL's regression tests for the installed server by apt-get source, builds their C functions, and prints the
# directory. Nothing outside target/regress is changed: apt works on lists of its own there.
# usage: tests/regress/fetch.sh        $POSTGRES_SOURCE names an unpacked source tree to use instead
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../examples/lib.sh"
find_postgres
major=$("$pg_bin/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
keep=$root/target/regress/$major
mkdir -p "$keep"

# apt-get with the system's own servers, source packages added, and its lists under $keep.
private_apt() { apt-get -qq -o "Dir::Etc::sourcelist=$keep/none.list" -o "Dir::Etc::sourceparts=$keep/sources" -o "Dir::State::lists=$keep/lists" "$@"; }

fetch_source() {
  command -v apt-get >/dev/null && command -v dpkg-source >/dev/null \
    || fail "needs apt-get and dpkg-source (package dpkg-dev), or \$POSTGRES_SOURCE"
  mkdir -p "$keep/sources" "$keep/lists/partial"; : >"$keep/none.list"
  local list
  for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ ! -f "$list" ] || sed -n 's/^deb \(.*\)/deb \1\ndeb-src \1/p' "$list" >"$keep/sources/$(basename "$list" .list).list"
  done
  for list in /etc/apt/sources.list.d/*.sources; do
    [ ! -f "$list" ] || sed 's/^Types: deb$/Types: deb deb-src/' "$list" >"$keep/sources/$(basename "$list")"
  done
  say "fetching the source of postgresql-$major"
  private_apt update >&2 || say "some package lists could not be read"
  local version
  version=$(dpkg-query -W -f '=${Version}' "postgresql-$major" 2>/dev/null || true)
  (cd "$keep" && { private_apt source "postgresql-$major$version" || private_apt source "postgresql-$major"; } >&2)
  (cd "$keep" && { private_apt download "postgresql-server-dev-$major$version" || private_apt download "postgresql-server-dev-$major"; } >&2)
  rm -rf "$keep/dev"; dpkg -x "$keep"/postgresql-server-dev-"$major"_*.deb "$keep/dev"
}

source=${POSTGRES_SOURCE:-$(compgen -G "$keep/postgresql-$major-$major.*/" || true)}
if [ -z "$source" ]; then
  fetch_source
  source=$(compgen -G "$keep/postgresql-$major-$major.*/")
fi
source=${source%/}
if [ ! -e "$keep/regress.so" ]; then
  include=$("$pg_bin/pg_config" --includedir-server)
  [ -e "$include/postgres.h" ] || include=$keep/dev$include
  cc -O2 -fPIC -shared -w -I "$include" -o "$keep/regress.so" "$source/src/test/regress/regress.c"
fi
ln -sfn "$source/src/test/regress" "$keep/tests"
echo "$keep"
