#!/bin/bash
# The feed workload of a social platform through Pointsman, in front of a throwaway PostgreSQL primary and replica.
# usage: examples/demo.sh [--once] [--scale 0.02] [--seconds 10] [--clients 16] [--protocol simple|extended|prepared]
# Prints what went where, what policies/agents.yaml made of it, and the latencies, then leaves everything running to be tried with psql until Ctrl-C (--once: ends).
# Nothing is left behind. Scale 1 is 100,000 agents and 2,000,000 interactions.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"

once=; scale=0.02; seconds=10; clients=16; protocol=simple
while [ $# -gt 0 ]; do
  case $1 in
    --once) once=1; shift; continue ;;
    -h | --help) sed -n '2,5s/^# //p' "$0"; exit ;;
    --scale | --seconds | --clients | --protocol) [ $# -ge 2 ] || fail "$1 wants a value" ;;
    *) fail "unknown option $1 (see --help)" ;;
  esac
  printf -v "${1#--}" %s "$2"; shift 2
done

# The policy for this workload. Its limits are raised, since the mix is more than they allow.
policy() {
  sed -E 's/timeout: [0-9]+s/timeout: 1m/; s|rate: [0-9]+/s, burst: [0-9]+|rate: 1000000/s|' "$root/policies/agents.yaml"
}

# The platform's mix, of 100 statements.
kinds=(feed@40 agent@30 friends@20 record@8 compatible@2)

run_mix() {
  local files=() kind agents
  agents=$(PGPASSWORD=app psql -XAtw "$direct" -c 'SELECT count(*) FROM agents')
  for kind in "${kinds[@]}"; do files+=(-f "$here/workload/queries/${kind%@*}.sql@${kind#*@}"); done
  PGPASSWORD=app pgbench -n -h 127.0.0.1 -p "$proxy_port" -U app -M "$protocol" -c "$clients" -j 2 -T "$seconds" \
    -D "agents=$agents" -D perm=1 -l --log-prefix="$stage/mix" "${files[@]}" app >"$stage/pgbench.log" 2>&1 \
    || { cat "$stage/pgbench.log" >&2; fail "pgbench failed"; }
}

"$root/deploy/setup.sh" demo
say "building Pointsman (the first time takes some minutes)"
pointsman=$(pointsman_binary)
stage_open demo

say "starting a PostgreSQL primary, loading the workload at scale $scale, starting a replica"
start_primary primary; primary_port=$port
direct="postgres://app@127.0.0.1:$primary_port/app"
PGHOST=127.0.0.1 PGPORT=$primary_port PGUSER=app PGPASSWORD=app PGDATABASE=app "$here/workload/load.sh" "$scale"
PGPASSWORD=postgres psql -qXw "postgres://postgres@127.0.0.1:$primary_port/app" -c 'ALTER TABLE agents REPLICA IDENTITY FULL' \
  -c 'ALTER TABLE friendships REPLICA IDENTITY FULL'
"$pointsman" changes init --primary "postgres://postgres:postgres@127.0.0.1:$primary_port/app" --apply >&2
start_replica replica "$primary_port"; replica_port=$port

say "starting Pointsman with policies/agents.yaml"
policy >"$stage/agents.yaml"
# The URL's role may read the verifiers of the others, so any role of the cluster can log in.
start_pointsman pointsman --primary "postgres://postgres:postgres@127.0.0.1:$primary_port/app" \
  --replica "postgres://postgres:postgres@127.0.0.1:$replica_port/app" --pool-size 8 \
  --policy "$stage/agents.yaml"
proxy_port=$port

say "running the mix: ${kinds[*]}, $clients clients, $seconds s"
run_mix
curl -sf "http://127.0.0.1:$admin_port/metrics" >"$stage/metrics"
python3 "$here/report.py" "$stage" "${kinds[@]}"

if [ -z "$once" ]; then
  cat <<END

Try it, until Ctrl-C:
  psql postgres://app:app@127.0.0.1:$proxy_port/app          through Pointsman
  psql postgres://app:app@127.0.0.1:$primary_port/app          the primary, directly
  curl http://127.0.0.1:$admin_port/metrics
END
  while ! gone "$pid"; do sleep 1; done
  tail -n 20 "$stage/pointsman.log" >&2
  fail "Pointsman ended by itself (log above)"
fi
