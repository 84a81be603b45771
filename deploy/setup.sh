#!/bin/bash
# Installs what a checkout needs and does not have; does nothing, quickly, when all is there.
# usage: deploy/setup.sh [build|demo|test|bench]
#   build  what compiles the program: C and C++ compiler, cmake, libclang, make
#   demo   build, and a PostgreSQL server (14 or newer), python3            (default)
#   test   demo, and Redis, openssl, a Python venv with psycopg 3 and asyncpg, node with pg, a JDK with the JDBC driver
#   bench  demo, and PgBouncer and HAProxy to compare with
# For Debian and Ubuntu, as root or with sudo. Rust (https://rustup.rs) is expected to be there already. The Python and
# node packages go under target/drivers in the checkout, nothing else is written outside apt's own places.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
drivers=${POINTSMAN_DRIVERS:-$root/target/drivers}
what=${1:-demo}

say() { echo "setup: $*" >&2; }
fail() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

missing=()
need() { # need COMMAND PACKAGE...: the packages are wanted if the command is not there
  local command=$1; shift
  have "$command" || missing+=("$@")
}

postgres_there() {
  local bin
  for bin in "$(dirname "$(readlink -f "$(command -v pg_ctl || echo /nonexistent/pg_ctl)")")" /usr/lib/postgresql/*/bin; do
    [ -x "$bin/initdb" ] && [ -x "$bin/pg_basebackup" ] || continue
    [ "$("$bin/pg_ctl" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')" -ge 14 ] && return 0
  done
  return 1
}

# bindgen, in pg_query's build, loads libclang and reads clang's own headers (stddef.h), which the bare library lacks.
libclang_there() {
  [ -z "${LIBCLANG_PATH:-}" ] || return 0
  ldconfig -p | grep -q 'libclang[-.]' || compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null || return 1
  compgen -G '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' >/dev/null || compgen -G '/usr/lib/clang/*/include/stddef.h' >/dev/null
}

want_build() {
  need cc gcc libc6-dev; need c++ g++; need cmake cmake; need make make
  libclang_there || missing+=(libclang-dev)
}
want_demo() {
  want_build; need python3 python3; need psql postgresql-client; need curl curl
  postgres_there || missing+=(postgresql)
}
want_test() {
  want_demo; need redis-server redis-server; need redis-cli redis-tools; need setpriv util-linux
  need openssl openssl; need javac default-jdk-headless; need node nodejs; need npm npm
  [ -e /usr/share/java/postgresql.jar ] || missing+=(libpostgresql-jdbc-java)
  python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
}
want_bench() { want_demo; need pgbouncer pgbouncer; need haproxy haproxy; }

install_missing() {
  [ ${#missing[@]} -gt 0 ] || return 0
  have apt-get || fail "missing: ${missing[*]}. Only apt is known here; install them by other means and run this again."
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    have sudo || fail "missing: ${missing[*]}. Installing them needs root: run as root, or 'apt-get install ${missing[*]}' by hand."
    sudo=(sudo)
  fi
  say "installing from apt: ${missing[*]}"
  # A PostgreSQL from apt would start a cluster of its own; the checkout only uses throwaway servers.
  local keep=/etc/postgresql-common/createcluster.conf
  if [[ " ${missing[*]} " == *" postgresql "* ]] && [ ! -e $keep ]; then
    "${sudo[@]}" mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | "${sudo[@]}" tee $keep >/dev/null
  fi
  "${sudo[@]}" apt-get update -qq || say "apt-get update failed; trying with the lists that are there"
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

driver_packages() {
  mkdir -p "$drivers/node"
  # Two runs at once: the second waits for the first, then finds everything there.
  exec 9>"$drivers/.lock"; flock 9
  if ! "$drivers/venv/bin/python" -c 'import psycopg, asyncpg' 2>/dev/null; then
    say "installing psycopg[binary] and asyncpg into $drivers/venv"
    rm -rf "$drivers/venv"; python3 -m venv "$drivers/venv"
    "$drivers/venv/bin/pip" install -q --disable-pip-version-check 'psycopg[binary]>=3.1,<4' 'asyncpg>=0.29'
  fi
  if [ ! -d "$drivers/node/node_modules/pg" ] || [ ! -d "$drivers/node/node_modules/pg-copy-streams" ]; then
    say "installing pg and pg-copy-streams into $drivers/node"
    (cd "$drivers/node" && npm install --silent --no-audit --no-fund pg@8 pg-copy-streams@7 >&2)
  fi
  exec 9>&-
}

case $what in
  build | demo | test | bench) "want_$what" ;;
  *) sed -n '2,9p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
have cargo || [ -x "$HOME/.cargo/bin/cargo" ] || fail "no cargo: install Rust from https://rustup.rs first"
install_missing
[ "$what" != test ] || driver_packages
say "$what: all there"
