#!/bin/bash
# Speed and memory of Pointsman beside its peers, on throwaway servers.
# usage: tests/bench/run.sh peers [--rounds 5] [--seconds 3] [--clients 16] [--only NAME,NAME...] [--no-replica] [--json FILE]
#        tests/bench/run.sh idle [--clients 10000] [--only NAME,NAME...]
#        tests/bench/run.sh cache [--rounds 3] [--seconds 3] [--scale 1]
#        tests/bench/run.sh shards [--rounds 3] [--seconds 3] [--scale 1]
#        tests/bench/run.sh plugins | plugged [--rounds 5] [--seconds 3] [--only NAME,NAME...]
# peers: pgbench through each, interleaved round by round, medians. Peers: direct, forward (a bare epoll forwarder in C),
#        haproxy (TCP mode), pgbouncer, pointsman. Workloads: simple, extended, prepared, churn (a connection per
#        transaction), rows (100 rows of 200 bytes). --only picks among both kinds of names.
# idle:  KiB of memory per idle client, after login and after one query each.
# cache: the feed query direct, through Pgpool-II's cache and Pointsman's (in memory; in Redis), and Redis GET of as many bytes; --scale 1
#        is 100,000 agents.
# shards: four shards beside one database: CPU of statements for one shard, a scatter's latency, memory of a long gather, the rate of
#        a split COPY, and the search for compatible agents. SHARDS_DIRECT=1 asks the one database instead, to see what that gives.
# plugins: CPU time of a plugin's hook called, called in a new instance, remembered; memory of an instance; and pgbench through a Pointsman with
#        a plugin that passes every statement, beside one without. plugged: the latter alone.
#        PLUGIN=FILE, with PLUGIN_CONFIG=JSON, measures that plugin besides.
# Pools hold 8 server connections; nobody asks clients for a password; Pointsman parses, and splits reads off to a replica.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../examples/lib.sh"
usage() { sed -n '3,11s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2; }

what=${1:-}; [ $# -eq 0 ] || shift
rounds=; seconds=3; clients=; only=; replica=1; json=; scale=; pool=8
while [ $# -gt 0 ]; do
  case $1 in
    --no-replica) replica=; shift; continue ;;
    --rounds | --seconds | --clients | --only | --json | --scale) [ $# -ge 2 ] || usage ;;
    *) usage ;;
  esac
  printf -v "${1#--}" %s "$2"; shift 2
done
case $what in
  peers) clients=${clients:-16}; rounds=${rounds:-5}; scale=${scale:-10} ;;
  idle) clients=${clients:-10000}; scale=1 ;;
  cache | shards) ;;
  plugins) (cd "$here/../.." && nice cargo bench -p pointsman-plugin-host --bench call) ;;
  plugged) ;;
  *) usage ;;
esac

# asked NAME: is it among --only's peers, or are no peers named there at all?
asked() {
  local name
  [[ ",$only," != *",$1,"* ]] || return 0
  for name in direct forward haproxy pgbouncer pointsman; do [[ ",$only," != *",$name,"* ]] || return 1; done
}

listens() { gone "$pid" || (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }

# start_peer NAME FUNCTION: FUNCTION starts the process NAME on $port; sets $pid once it listens.
start_peer() {
  local try
  for try in 1 2 3; do
    port=$(free_port)
    "$2" "$1"
    if wait_for 20 listens && ! gone "$pid"; then return; fi
  done
  tail -n 20 "$stage/$1.log" >&2
  fail "$1 did not start (log above)"
}

run_forward() { start_process "$1" "$stage/forward" "$port" "$primary_port"; }

run_haproxy() {
  cat >"$stage/$1.cfg" <<END
global
  maxconn 9000
defaults
  mode tcp
  timeout connect 5s
  timeout client 10m
  timeout server 10m
listen postgres
  bind 127.0.0.1:$port
  server primary 127.0.0.1:$primary_port
END
  start_process "$1" haproxy -db -f "$stage/$1.cfg"
}

# PgBouncer before 1.21 loses prepared statements in transaction mode, so there 'prepared' has one in session mode.
run_pgbouncer() { write_pgbouncer "$1" transaction "$pool"; }
run_pgbouncer_session() { write_pgbouncer "$1" session "$clients"; }
write_pgbouncer() {
  local prepared=
  pgbouncer_pools_prepared && prepared="max_prepared_statements = 200"
  echo '"postgres" "postgres"' >"$stage/$1.users"
  cat >"$stage/$1.ini" <<END
[databases]
postgres = host=127.0.0.1 port=$primary_port
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = trust
auth_file = $stage/$1.users
pool_mode = $2
default_pool_size = $3
max_client_conn = 19000
log_connections = 0
log_disconnections = 0
$prepared
END
  start_process "$1" "${postgres_user[@]}" pgbouncer "$stage/$1.ini"
}
pgbouncer_pools_prepared() {
  [ "$(pgbouncer --version | sed -n '1s/.* 1\.\([0-9]*\).*/\1/p')" -ge 21 ]
}

write_pointsman() {
  echo "auth: {method: trust, users: [{name: postgres, password: postgres}]}"
  echo "limits: {clients_max: 19000}"
  echo "primary: 'postgres://postgres:postgres@127.0.0.1:$primary_port/postgres'"
  [ -z "$replica" ] || echo "replicas: ['postgres://postgres:postgres@127.0.0.1:$replica_port/postgres']"
  echo "pool: {size: $pool}"
}

[ "$what" != cache ] || . "$here/cache.sh"
[ "$what" != shards ] || . "$here/shards.sh"
[ "$what" != plugins ] && [ "$what" != plugged ] || . "$here/plugins.sh"
"$root/deploy/setup.sh" bench
pointsman=; ! asked pointsman || pointsman=$(pointsman_binary)
ulimit -n "$(ulimit -Hn)"
stage_auth=trust
stage_open bench
cc -O2 -o "$stage/forward" "$here/forward.c"

say "starting PostgreSQL, pgbench scale $scale"
start_primary primary; primary_port=$port
export PGHOST=127.0.0.1 PGUSER=postgres PGPASSWORD=postgres PGDATABASE=postgres
pgbench -i -q -s "$scale" -p "$primary_port" >"$stage/init.log" 2>&1 || { cat "$stage/init.log" >&2; fail "pgbench -i failed"; }
psql -qX -p "$primary_port" -c "CREATE TABLE bench_rows AS SELECT repeat('x', 200) AS filler FROM generate_series(1, 100)" \
  -c "VACUUM ANALYZE bench_rows"
if [ -n "$replica" ] && [ -n "$pointsman" ]; then start_replica replica "$primary_port"; replica_port=$port; fi

targets=()
! asked direct || targets+=("direct:$primary_port:0")
for peer in forward haproxy pgbouncer pointsman; do
  asked $peer || continue
  [ "$what $peer" != "idle forward" ] && [ "$what $peer" != "idle haproxy" ] || continue
  if [ $peer = pointsman ]; then start_pointsman_yaml $peer < <(write_pointsman); else start_peer $peer run_$peer; fi
  targets+=("$peer:$port:$pid")
done
if [ "$what" = peers ] && asked pgbouncer && ! pgbouncer_pools_prepared; then
  start_peer pgbouncer-session run_pgbouncer_session
  targets+=("pgbouncer/prepared:$port:$pid")
  if asked pointsman; then
    pool=$clients
    start_pointsman_yaml pointsman-each < <(write_pointsman)
    targets+=("pointsman (a connection each)@prepared:$port:$pid")
  fi
fi

if [ "$what" = idle ]; then
  for target in "${targets[@]}"; do
    [[ $target = direct:* ]] || python3 "$here/idle.py" "$target" "$clients"
  done
else
  python3 "$here/peers.py" --stage "$stage" --rounds "$rounds" --seconds "$seconds" --clients "$clients" --only "$only" \
    --json "$json" "${targets[@]}"
fi
