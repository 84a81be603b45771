#!/bin/bash
# Fetches PostgreSQL's regression tests for the installed server by apt-get source, builds their C functions, and prints the
# directory. Nothing outside target/regress is changed: apt works on lists of its own there.
# usage: tests/regress/fetch.sh        $POSTGRES_SOURCE names an unpacked source tree to use instead
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../examples/lib.sh"
. "$here/../apt_source.sh"
find_postgres
major=$("$pg_bin/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
keep=$root/target/regress/$major
mkdir -p "$keep"

fetch_source() {
  say "fetching the source of postgresql-$major"
  apt_source_lists "$keep" || fail "needs apt-get and dpkg-source (package dpkg-dev), or \$POSTGRES_SOURCE"
  local version
  version=$(dpkg-query -W -f '=${Version}' "postgresql-$major" 2>/dev/null || true)
  (cd "$keep" && apt_source "$keep" "postgresql-$major")
  (cd "$keep" && { apt_private "$keep" apt-get download "postgresql-server-dev-$major$version" || apt_private "$keep" apt-get download "postgresql-server-dev-$major"; } >&2)
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
