#!/bin/bash
# Runs each driver's script directly and through Pointsman and compares the transcripts.
# usage: tests/drivers/run.sh [--only NAME,NAME...] [DIRECT_URL PROXY_URL]      drivers: psycopg, asyncpg, node, jdbc, tokio
# Without URLs it starts a throwaway primary, replica and Pointsman, and another application on the same pools. Ends with a line for each driver; fails on a difference.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../examples/lib.sh"
drivers=${POINTSMAN_DRIVERS:-$root/target/drivers}
only=psycopg,asyncpg,node,jdbc,tokio
[ "${1:-}" != --only ] || { only=${2:?--only wants names}; shift 2; }
[ $# -eq 0 ] || [ $# -eq 2 ] || { sed -n '3s/^# //p' "$0" >&2; exit 2; }

"$root/deploy/setup.sh" test
[ $# -eq 2 ] || pointsman=$(pointsman_binary "${POINTSMAN_PROFILE:-debug}")
stage_open drivers

if [ $# -eq 2 ]; then
  direct=$1 proxied=$2
else
  start_primary primary; primary_port=$port
  start_replica replica "$primary_port"; replica_port=$port
  start_pointsman pointsman --primary "postgres://postgres:postgres@127.0.0.1:$primary_port/app" \
    --replica "postgres://postgres:postgres@127.0.0.1:$replica_port/app" --pool-size 8
  direct=postgres://app:app@127.0.0.1:$primary_port/app
  proxied=postgres://app:app@127.0.0.1:$port/app
  # With nobody else on the pool, each driver would always get the connection that it gave back.
  PGPASSWORD=app start_process noise pgbench -n -h 127.0.0.1 -p "$port" -U app -M prepared -R 200 -c 6 -T 3600 -f "$here/noise.sql" app
  noise_pid=$pid
fi

run_driver() {
  case $1 in
    psycopg) "$drivers/venv/bin/python" "$here/psycopg_driver.py" "$2" ;;
    asyncpg) "$drivers/venv/bin/python" "$here/asyncpg_driver.py" "$2" ;;
    node) NODE_PATH=$drivers/node/node_modules node "$here/node_driver.js" "$2" ;;
    jdbc) java -cp "/usr/share/java/postgresql.jar:$stage/classes" JdbcDriver "$2" ;;
    tokio) "$tokio_driver" "$2" ;;
    *) fail "no driver $1" ;;
  esac
}

# $POINTSMAN_TOKIO_DRIVER names one that is built already.
tokio_driver=${POINTSMAN_TOKIO_DRIVER:-${CARGO_TARGET_DIR:-$root/target}/debug/examples/tokio_driver}
if [[ ,$only, = *,tokio,* ]] && [ -z "${POINTSMAN_TOKIO_DRIVER:-}" ]; then
  (cd "$root" && cargo build -q -p pointsman-tests --example tokio_driver) || fail "tokio_driver does not build"
fi

summary=() failed=0
for driver in ${only//,/ }; do
  if [ "$driver" = jdbc ]; then
    javac -cp /usr/share/java/postgresql.jar -d "$stage/classes" "$here/JdbcDriver.java"
  fi
  verdict=equal
  for side in direct proxied; do
    run=0
    timeout 180 bash -c "$(declare -f run_driver fail say); drivers='$drivers' here='$here' stage='$stage' tokio_driver='$tokio_driver'; run_driver $driver '${!side}'" \
      >"$stage/$driver.$side" 2>"$stage/$driver.$side.err" || run=$?
    if [ $run -ne 0 ]; then
      verdict="$side: the script failed ($run)"
      say "--- $driver, $side"; tail -n 15 "$stage/$driver.$side.err" >&2
    fi
  done
  if ! diff -u --label direct --label proxied "$stage/$driver.direct" "$stage/$driver.proxied" | cut -c1-2000; then
    [ "$verdict" != equal ] || verdict="the transcripts differ"
  fi
  [ "$verdict" = equal ] || failed=1
  summary+=("$driver: $verdict, $(grep -c '' "$stage/$driver.direct") lines")
done
if [ -n "${noise_pid:-}" ] && gone "$noise_pid"; then
  tail -n 5 "$stage/noise.log" >&2
  summary+=("the other application on the pools failed"); failed=1
fi
printf '%s\n' "${summary[@]}"
[ $failed -eq 0 ] || { [ ! -s "$stage/pointsman.log" ] || tail -n 20 "$stage/pointsman.log" >&2; exit 1; }
