# Four shards beside one database with all rows, on one server: sourced by run.sh, ends the script.
rounds=${rounds:-3}; scale=${scale:-1}; agents=$(awk "BEGIN { n = int($scale * 100000); print n < 100 ? 100 : n }")
shards=4

"$root/deploy/setup.sh" bench
pointsman=$(pointsman_binary)
ulimit -n "$(ulimit -Hn)"
stage_auth=trust
stage_open bench
say "starting PostgreSQL and loading $agents agents, whole and in $shards shards"
start_primary primary "shared_buffers = '512MB'"; primary_port=$port
export PGHOST=127.0.0.1 PGUSER=postgres PGPASSWORD=postgres

load() { # load DATABASE [SHARD SHARDS]
  local database=$1; shift
  psql -qX -p "$primary_port" -d postgres -c "CREATE DATABASE $database"
  PGPORT=$primary_port PGDATABASE=$database "$root/examples/workload/load.sh" "$scale" "$@" >"$stage/load.log" 2>&1 \
    || { tail "$stage/load.log" >&2; fail "loading failed"; }
  psql -qX -p "$primary_port" -d "$database" -c "CREATE TABLE copied (LIKE interactions)"
}
load whole
for ((shard = 0; shard < shards; shard++)); do load "shard$shard" "$shard" "$shards"; done

cat >"$stage/shards.yaml" <<END
apiVersion: pointsman/v1
kind: Policy
metadata: {name: bench}
spec:
  tables:
    agents: {shard_key: id}
    interactions: {shard_key: initiator_id}
    friendships: {shard_key: initiator_id}
    communities: {reference: true}
    copied: {shard_key: initiator_id}
END
url() { echo "postgres://postgres:postgres@127.0.0.1:$primary_port/$1"; }
write_auth() { echo "auth: {method: trust, users: [{name: postgres, password: postgres}]}"; }
# As many server connections as the shards have together: fewer would have clients wait, and be woken in batches.
write_unsharded() { write_auth; echo "primary: '$(url whole)'"; echo "pool: {size: $((pool * shards))}"; }
write_sharded() {
  local shard names=
  write_auth
  echo "clusters:"
  for ((shard = 0; shard < shards; shard++)); do
    echo "  - {name: s$shard, primary: '$(url "shard$shard")', pool: {size: $pool}}"
    names+="${names:+, }s$shard"
  done
  echo "sharded: [{name: social, shards: [$names], cross_shard_writes: two_phase}]"
  echo "policies: ['$stage/shards.yaml']"
}
start_pointsman_yaml unsharded < <(write_unsharded); unsharded=$port:$pid:whole
if [ -n "${SHARDS_DIRECT:-}" ]; then
  sharded=$unsharded
else
  start_pointsman_yaml sharded < <(write_sharded); sharded=$port:$pid:social
fi
python3 "$here/shards.py" --stage "$stage" --server "$primary_port" --shards "$shards" --agents "$agents" --rounds "$rounds" \
  --seconds "$seconds" --unsharded "$unsharded" --sharded "$sharded" --queries "$root/examples/workload/queries"
exit
