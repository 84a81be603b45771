# Throwaway servers for the demo, the benchmarks and the driver tests: a PostgreSQL primary, its streaming replica, Pointsman
# and its peers, on free ports of 127.0.0.1 under one temporary directory that goes away with the script. To be sourced.
#
#   stage_open NAME          makes $stage, the directory; everything below is stopped and removed when the script ends
#   start_primary NAME [SETTING=VALUE]...      sets $port;  start_replica NAME PRIMARY_PORT   sets $port
#   start_pointsman NAME FLAG...; start_pointsman_yaml NAME <YAML      set $port, $admin_port and $pid
#   start_process NAME COMMAND...              sets $pid, log in $stage/NAME.log
#   as_postgres COMMAND... (to start_process: "${postgres_user[@]}")   wait_for SECONDS COMMAND...   free_port   pointsman_binary [debug|release]
# Servers: superuser postgres/postgres, role app/app that owns the database app. $stage_auth (scram-sha-256) is how they ask.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
stage=; stage_auth=${stage_auth:-scram-sha-256}; stage_pids=(); stage_data=()
port=; admin_port=; pid=; pg_bin=

say() { echo "$*" >&2; }
fail() { say "$(basename "$0"): $*"; exit 1; }

# PostgreSQL refuses to run as root: these words before a command make it run as the user postgres.
postgres_user=()
[ "$(id -u)" -ne 0 ] || postgres_user=(setpriv --reuid=postgres --regid=postgres --init-groups)
as_postgres() { "${postgres_user[@]}" "$@"; }

# The directory of the server programs: of PATH, else the newest installed.
find_postgres() {
  local bin found=
  found=$(readlink -f "$(command -v pg_ctl || true)") || true
  found=${found%/pg_ctl}
  [ -x "$found/pg_basebackup" ] || found=
  for bin in $(compgen -G '/usr/lib/postgresql/*/bin' | sort -rV); do
    [ -n "$found" ] || { [ -x "$bin/initdb" ] && found=$bin; }
  done
  [ -n "$found" ] || fail "no PostgreSQL server programs; run deploy/setup.sh"
  pg_bin=$found
  PATH=$pg_bin:$PATH:/usr/sbin
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# wait_for SECONDS COMMAND...: until it succeeds; 1 if it never does.
wait_for() {
  local until=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $until ] || return 1
    sleep 0.1
  done
}

stage_open() {
  find_postgres
  stage=$(mktemp -d "${TMPDIR:-/tmp}/pointsman-$1.XXXXXX")
  chmod 755 "$stage"
  echo postgres >"$stage/superuser"
  [ "$(id -u)" -ne 0 ] || chown postgres "$stage"
  trap stage_close EXIT
  trap 'exit 129' HUP; trap 'exit 130' INT; trap 'exit 143' TERM
}

# Newest first, so that a replica goes before its primary and a proxy before its servers.
stage_close() {
  local status=$? i
  trap - EXIT; trap '' HUP INT TERM
  for ((i = ${#stage_pids[@]} - 1; i >= 0; i--)); do stop_process "${stage_pids[i]}"; done
  for ((i = ${#stage_data[@]} - 1; i >= 0; i--)); do
    as_postgres "$pg_bin/pg_ctl" -D "${stage_data[i]}" -m immediate -s stop 2>/dev/null || true
  done
  [ -z "$stage" ] || rm -rf "$stage"
  exit $status
}

start_process() {
  local name=$1; shift
  "$@" >"$stage/$name.log" 2>&1 </dev/null &
  pid=$!
  stage_pids+=("$pid")
}

# Ends it politely, then for certain.
stop_process() {
  kill -TERM "$1" 2>/dev/null || return 0
  wait_for 3 gone "$1" || kill -KILL "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}
gone() { [ ! -e "/proc/$1" ] || grep -q '^State:.*Z' "/proc/$1/status"; }

# start_server DATA: on a free port; another script may take the port first, so a few are tried.
start_server() {
  local data=$1 try
  stage_data+=("$data")
  for try in 1 2 3 4 5; do
    port=$(free_port)
    # Relative names and a C locale: the server must not depend on the caller's surroundings.
    if as_postgres "$pg_bin/pg_ctl" -D "$data" -s -w -t 60 -l "$data.log" -o "-p $port -k $stage" start >/dev/null 2>&1; then
      return
    fi
  done
  tail -n 20 "$data.log" >&2
  fail "PostgreSQL did not start (log above)"
}

start_primary() {
  local name=$1 data=$stage/$1 setting; shift
  as_postgres env LC_ALL=C "$pg_bin/initdb" -D "$data" -U postgres -A "$stage_auth" --pwfile="$stage/superuser" -E UTF8 \
    --locale=C -N >"$stage/$name.initdb.log" 2>&1 || { cat "$stage/$name.initdb.log" >&2; fail "initdb failed"; }
  {
    echo "listen_addresses = '127.0.0.1'"
    echo "wal_level = logical"
    echo "max_connections = 200"
    echo "max_prepared_transactions = 20"
    echo "fsync = off"
    echo "log_min_messages = fatal"
    echo "timezone = 'UTC'"
    for setting in "$@"; do echo "$setting"; done
  } | as_postgres tee -a "$data/postgresql.conf" >/dev/null
  start_server "$data"
  PGPASSWORD=postgres psql -qXw -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" -U postgres -d postgres >/dev/null \
    -c "CREATE ROLE app LOGIN PASSWORD 'app'" -c "CREATE DATABASE app OWNER app"
}

start_replica() {
  local data=$stage/$1 primary=$2
  as_postgres env PGPASSWORD=postgres "$pg_bin/pg_basebackup" -h 127.0.0.1 -p "$primary" -U postgres -D "$data" -R -c fast \
    >"$data.backup.log" 2>&1 || { cat "$data.backup.log" >&2; fail "pg_basebackup failed"; }
  start_server "$data"
}

# Prints the path of the program, built; $POINTSMAN names another.
pointsman_binary() {
  local profile=${1:-release} flag=()
  if [ -n "${POINTSMAN:-}" ]; then echo "$POINTSMAN"; return; fi
  [ "$profile" = debug ] || flag=(--release)
  (cd "$root" && cargo build -q "${flag[@]}" -p pointsman --bin pointsman >&2) || fail "the build failed"
  echo "${CARGO_TARGET_DIR:-$root/target}/$profile/pointsman"
}

# start_pointsman NAME ARGUMENT...: serve with these flags, on a free port with a free admin port. $pointsman is the program.
start_pointsman() {
  local name=$1; shift
  try_pointsman "$name" serve_flags "$@"
}
serve_flags() {
  local name=$1; shift
  start_process "$name" "$pointsman" serve --listen "127.0.0.1:$port" --admin "127.0.0.1:$admin_port" "$@"
}

# start_pointsman_yaml NAME: the same with the YAML of standard input; listen and admin are added to it.
start_pointsman_yaml() {
  cat >"$stage/$1.part.yaml"
  try_pointsman "$1" serve_yaml
}
serve_yaml() {
  { echo "listen: ['127.0.0.1:$port']"; echo "admin: '127.0.0.1:$admin_port'"; cat "$stage/$1.part.yaml"; } >"$stage/$1.yaml"
  start_process "$1" "$pointsman" serve --config "$stage/$1.yaml"
}

# try_pointsman NAME FUNCTION ARGUMENT...: another script may take a port first, so a few are tried.
try_pointsman() {
  local name=$1 serve=$2 try; shift 2
  for try in 1 2 3; do
    port=$(free_port); admin_port=$(free_port)
    "$serve" "$name" "$@"
    if wait_for 20 ready_or_gone && ! gone "$pid"; then return; fi
  done
  tail -n 20 "$stage/$name.log" >&2
  fail "Pointsman did not become ready (log above)"
}
ready_or_gone() { gone "$pid" || curl -sf "http://127.0.0.1:$admin_port/readyz"; }
