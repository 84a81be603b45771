# The feed through caches: sourced by run.sh, ends the script.
rounds=${rounds:-3}; scale=${scale:-1}; agents=$(awk "BEGIN { print int($scale * 100000) }")

write_caching() {
  echo "auth: {method: trust, users: [{name: postgres, password: postgres}]}"
  echo "primary: 'postgres://postgres:postgres@127.0.0.1:$primary_port/postgres'"
  echo "pool: {size: $pool}"
  [ -z "${2:-}" ] || echo "policies: $stage/feed.yaml"
  echo "cache: {$1}"
}

write_pgpool() {
  cat >"$stage/$1.conf" <<END
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$stage'
pcp_socket_dir = '$stage'
pcp_port = $(free_port)
pid_file_name = '$stage/$1.pid'
logdir = '$stage'
backend_hostname0 = '127.0.0.1'
backend_port0 = $primary_port
backend_weight0 = 1
backend_clustering_mode = 'raw'
enable_pool_hba = off
num_init_children = 80
max_pool = 1
connection_life_time = 0
memory_cache_enabled = on
memqcache_method = 'shmem'
memqcache_total_size = 256MB
memqcache_max_num_cache = 200000
memqcache_maxcache = 400kB
memqcache_cache_block_size = 1MB
memqcache_auto_cache_invalidation = on
memqcache_oiddir = '$stage/$1-oids'
log_min_messages = fatal
END
  mkdir -p "$stage/$1-oids"
  start_process "$1" pgpool -n -f "$stage/$1.conf"
}

"$root/deploy/setup.sh" bench
pointsman=$(pointsman_binary)
ulimit -n "$(ulimit -Hn)"
stage_auth=trust
stage_open bench
say "starting PostgreSQL and loading $agents agents"
start_primary primary; primary_port=$port
export PGHOST=127.0.0.1 PGUSER=postgres PGPASSWORD=postgres PGDATABASE=postgres
PGPORT=$primary_port "$root/examples/workload/load.sh" "$scale" >"$stage/load.log" 2>&1 || { tail "$stage/load.log" >&2; fail "loading failed"; }
psql -qX -p "$primary_port" -c "CREATE PUBLICATION pointsman FOR ALL TABLES" -c "VACUUM ANALYZE"

redis_port=$(free_port)
start_process redis redis-server --bind 127.0.0.1 --port "$redis_port" --save "" --appendonly no; redis_pid=$pid
cat >"$stage/feed.yaml" <<END
apiVersion: pointsman/v1
kind: Policy
metadata: {name: bench}
spec:
  rules:
    - {name: feed, match: {reads: {all: [friendships, interactions, agents]}}, cache: {ttl: 1h}}
END
targets=("direct:$primary_port:0")
if command -v pgpool >/dev/null; then
  start_peer pgpool write_pgpool
  targets+=("pgpool:$port:$pid")
fi
start_pointsman_yaml pointsman-uncached < <(write_caching "memory: 0")
targets+=("pointsman-uncached:$port:$pid")
start_pointsman_yaml pointsman < <(write_caching "memory: 512MiB" cached)
targets+=("pointsman:$port:$pid")
start_pointsman_yaml pointsman-redis < <(write_caching "memory: 64KiB, redis: {urls: 'redis://127.0.0.1:$redis_port/'}" cached)
targets+=("pointsman-redis:$port:$pid")
PYTHONPATH=$here python3 "$here/cache.py" --stage "$stage" --redis "$redis_port:$redis_pid" --agents "$agents" --rounds "$rounds" \
  --seconds "$seconds" "${targets[@]}"
exit
