#!/bin/bash
# A social platform through Pointsman: its feed workload on a throwaway PostgreSQL primary and replica, then the same over four shards.
# usage: examples/demo.sh [--once] [--scale 0.02] [--seconds 10] [--clients 16] [--protocol simple|extended|prepared]
# Prints latencies, what went where, and what policies/agents.yaml, policies/shards.yaml and plugins made of it, then leaves everything running to be tried with psql until Ctrl-C (--once: ends).
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

# Builds a plugin of plugins/ with the tools of deploy/setup.sh plugins.
tools=${POINTSMAN_PLUGIN_TOOLS:-$root/target/plugins}
build_plugin() {
  CARGO_TARGET_DIR=$tools/cargo PATH=$tools/bin:$PATH "$pointsman" plugin build "$root/plugins/$1" >>"$stage/plugins.log" 2>&1
}
# Which plugins there are: feeds (Rust), and guards (Rust, JavaScript, Python) where the tools of all three are set up.
plugins=()
build_plugins() {
  if ! "$root/deploy/setup.sh" plugins rust || ! build_plugin feed-invalidation; then
    say "plugins cannot be built here: the demo runs without them (see $stage/plugins.log)"
    return
  fi
  plugins=(feeds)
  if build_plugin tenant-guard && build_plugin column-mask && build_plugin query-budget; then
    plugins=(feeds guards)
  else
    say "without policies/guards.yaml: deploy/setup.sh plugins sets up what its plugins take"
  fi
}
# The entries of plugins that the comments of a policy show, with the files that were built.
plugin_entries() {
  local rust=$tools/cargo/wasm32-unknown-unknown/release
  sed -n '/^#   plugins:$/,/^#$\|^[^#]/s/^#   //p' "$root/policies/$1.yaml" | sed -E '/^plugins:/d' \
    | sed -E "s|file: ([a-z]+_[a-z]+)\.wasm|file: $rust/\1.wasm|; s|file: ([a-z]+-[a-z]+)\.wasm|file: $root/plugins/\1/\1.wasm|"
}

# The database `app` on a primary and a replica; the database `social` over four others of the same two servers.
# The URLs' role may read the verifiers of the others, so any role of the cluster can log in.
configuration() {
  local shard
  servers() { echo "primary: 'postgres://postgres:postgres@127.0.0.1:$primary_port/$1', replicas: ['postgres://127.0.0.1:$replica_port/$1'], pool: {size: 8}"; }
  policy >"$stage/agents.yaml"
  local policies=() one
  for one in ${plugins[@]+"${plugins[@]}"}; do policies+=("'$root/policies/$one.yaml', "); done
  echo "policies: [${policies[*]-} '$stage/agents.yaml', '$root/policies/shards.yaml']"
  if [ ${#plugins[@]} -gt 0 ]; then
    echo "plugin_host: {code_dir: '$tools/code'}"
    echo "plugins:"
    for one in "${plugins[@]}"; do plugin_entries "$one"; done
  fi
  echo "auth: {admins: [app]}"
  echo "clusters:"
  echo "  - {name: whole, databases: [app], $(servers app)}"
  for shard in 0 1 2 3; do echo "  - {name: s$shard, $(servers "shard$shard")}"; done
  echo "sharded: [{name: social, shards: [s0, s1, s2, s3], cross_shard_writes: two_phase}]"
}

direct() { local database=$1; shift; PGPASSWORD=postgres psql -qXAtw -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$primary_port" -U postgres -d "$database" "$@"; }
through() { local database=$1; shift; PGPASSWORD=app psql -qXAtw -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$proxy_port" -U app -d "$database" "$@"; }
load() { PGHOST=127.0.0.1 PGUSER=app PGPASSWORD=app PGPORT=$1 PGDATABASE=$2 "$here/workload/load.sh" "$scale" "${@:3}"; }
table() { python3 "$here/report.py" table; }

# The platform's mix, of 100 statements.
kinds=(feed@40 agent@30 friends@20 record@8 compatible@2)

run_mix() { # run_mix DATABASE
  local files=() kind agents
  agents=$(through "$1" -c 'SELECT count(*) FROM agents')
  for kind in "${kinds[@]}"; do files+=(-f "$here/workload/queries/${kind%@*}.sql@${kind#*@}"); done
  say "running the mix on $1: ${kinds[*]}, $clients clients, $seconds s"
  PGPASSWORD=app pgbench -n -h 127.0.0.1 -p "$proxy_port" -U app -M "$protocol" -c "$clients" -j 2 -T "$seconds" \
    -D "agents=$agents" -D perm=1 -l --log-prefix="$stage/$1" "${files[@]}" "$1" >"$stage/pgbench.log" 2>&1 \
    || { cat "$stage/pgbench.log" >&2; fail "pgbench failed"; }
}

# What the mix lacks: ten times an INSERT of 1,000 rows for all agents, two who become friends on two shards, ids of one's own.
write_over_shards() {
  local agents ids
  agents=$(through social -c 'SELECT count(*) FROM agents')
  awk -v n="$agents" -v q="'" 'BEGIN {
    for (i = 0; i < 10000; i++) {
      if (i % 1000 == 0) printf "%sINSERT INTO interactions (initiator_id, recipient_id, content, interaction_type) VALUES", i ? ";" : ""
      printf "%s(%d, %d, %sone of many%s, %slike%s)", i % 1000 ? "," : " ", 1 + i % n, 1 + 7 * i % n, q, q, q, q
    }
  }' | through social
  through social <<'END'
BEGIN;
INSERT INTO friendships VALUES (1, 1000002, 'accepted', 1, now());
INSERT INTO friendships VALUES (1000002, 1, 'accepted', 1, now());
COMMIT;
END
  ids=$(through social -c 'SELECT pointsman.next_id()' -c 'SELECT pointsman.next_id()' | sort -u | wc -l)
  [ "$ids" -eq 2 ] || fail "pointsman.next_id() gave an id twice"
}

# Runs a statement, and says in a line what EXPLAIN ROUTE says of it.
route() { # route NAME STATEMENT
  through social -c "$2" >/dev/null
  through social -F $'\t' -c "EXPLAIN ROUTE $2" | awk -F '\t' -v name="$1" '
    $1 == "shards" { shards = $2 } $1 == "sent" || $1 == "over several" { how = $2 }
    END { if (shards == "") exit 1; printf "%s\t%s\t%s\n", name, shards, how }'
}
routes() {
  printf 'statement\tshards\thow\n'
  route "an agent" "SELECT * FROM agents WHERE id = 7"
  route "newest of all" 'SELECT id, content FROM interactions ORDER BY "timestamp" DESC LIMIT 20'
  route "kinds" "SELECT interaction_type, count(*) FROM interactions GROUP BY 1 HAVING count(*) > 5"
  route "friends" "SELECT name FROM agents WHERE id IN (SELECT recipient_id FROM friendships WHERE initiator_id = 7)"
  route "compatible" "$(sed '/^[-\\]/d; s/:aid/7/; s/;$//' "$here/workload/queries/compatible.sql" | tr '\n' ' ')"
  route "all active" "UPDATE agents SET active = true WHERE NOT active"
}

# How many rows of each table are on each shard. Together they are as many as Pointsman counts, or it fails.
rows_by_shard() {
  local table shard count line sum
  printf 'rows\tshard 0\tshard 1\tshard 2\tshard 3\tall\n'
  for table in agents friendships interactions; do
    line=$table; sum=0
    for shard in 0 1 2 3; do
      count=$(direct "shard$shard" -c "SELECT count(*) FROM $table"); line+=$'\t'$count; sum=$((sum + count))
    done
    count=$(through social -c "SELECT count(*) FROM $table")
    [ "$count" -eq "$sum" ] || fail "$table: $count rows through Pointsman, $sum on the shards"
    printf '%s\t%s\n' "$line" "$count"
  done
}

# What plugins made of it, and what clients see that policies/guards.yaml is for.
plugins_told() {
  printf '\nWhat plugins did (SHOW PLUGINS)\n'
  { printf 'plugin\tcalls\tremembered\tfailures\tµs a call\tkeys in kv\n'
    through pointsman -F $'\t' -c 'SHOW PLUGINS' | cut -f 1,8-11,14; } >"$stage/plugins"
  table <"$stage/plugins"
  [[ " ${plugins[*]} " = *" guards "* ]] || return 0
  local sql="SELECT count(*) || ' agents, ' || count(bio) || ' with a bio' FROM agents" number
  printf 'who asks\twhat is seen\n' >"$stage/guards"
  printf 'anybody\t%s\n' "$(through app -c "$sql")" >>"$stage/guards"
  printf 'tenant 7\t%s\n' "$(PGAPPNAME=tenant-7 PGOPTIONS='-c app.tenant=7' through app -c "$sql")" >>"$stage/guards"
  printf 'the help desk\t%s\n' "$(PGAPPNAME=help-desk through app -c "$sql")" >>"$stage/guards"
  for ((number = 0; number <= 100; number++)); do echo "SELECT $number;"; done \
    | PGAPPNAME=script-1 through app >/dev/null 2>"$stage/budget" && fail "a script was not held to its budget"
  printf 'a script, the 101st time\t%s\n' "$(sed -n 's/^.*ERROR:  //p' "$stage/budget" | head -1)" >>"$stage/guards"
  echo; table <"$stage/guards"
}

"$root/deploy/setup.sh" demo
say "building Pointsman (the first time takes some minutes)"
pointsman=$(pointsman_binary)
stage_open demo
say "building plugins"
build_plugins

say "starting a PostgreSQL primary, loading the workload at scale $scale, starting a replica"
start_primary primary; primary_port=$port
load "$primary_port" app
direct app -c 'ALTER TABLE agents REPLICA IDENTITY FULL' -c 'ALTER TABLE friendships REPLICA IDENTITY FULL'
"$pointsman" changes init --primary "postgres://postgres:postgres@127.0.0.1:$primary_port/app" --apply >&2
for shard in 0 1 2 3; do direct postgres -c "CREATE DATABASE shard$shard OWNER app"; done
start_replica replica "$primary_port"; replica_port=$port

say "starting Pointsman with policies/agents.yaml, policies/shards.yaml${plugins[*]:+ and plugins for ${plugins[*]}}"
start_pointsman_yaml pointsman < <(configuration)
proxy_port=$port
run_mix app
curl -sf "http://127.0.0.1:$admin_port/metrics" >"$stage/metrics.app"
python3 "$here/report.py" "$stage" app "${kinds[@]}"
[ ${#plugins[@]} -eq 0 ] || plugins_told

say "
loading the same through Pointsman into the database social, over four shards"
load "$proxy_port" social sharded
run_mix social
write_over_shards
printf '\nThe same over four shards'
python3 "$here/report.py" "$stage" social "${kinds[@]}"
echo; routes >"$stage/routes"; table <"$stage/routes"
echo; rows_by_shard >"$stage/rows"; table <"$stage/rows"
printf '\nWhat became of statements for several shards (SHOW SHARD_STATS)\n'
{ printf 'what\treason\tcount\n'; through pointsman -F $'\t' -c 'SHOW SHARD_STATS'; } >"$stage/stats"
sed 's/^social\t//' "$stage/stats" | table

if [ -z "$once" ]; then
  cat <<END

Try it, until Ctrl-C:
  psql postgres://app:app@127.0.0.1:$proxy_port/app          through Pointsman
  psql postgres://app:app@127.0.0.1:$proxy_port/social       the same over four shards
  psql postgres://app:app@127.0.0.1:$proxy_port/pointsman    the admin console
  psql postgres://app:app@127.0.0.1:$primary_port/app          the primary, directly
  curl http://127.0.0.1:$admin_port/metrics
END
  while ! gone "$pid"; do sleep 1; done
  tail -n 20 "$stage/pointsman.log" >&2
  fail "Pointsman ended by itself (log above)"
fi
