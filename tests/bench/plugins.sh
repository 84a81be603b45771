# A plugin on every statement beside none: sourced by run.sh, ends the script.
rounds=${rounds:-5}; scale=${scale:-10}; clients=${clients:-16}

"$root/deploy/setup.sh" bench
pointsman=$(pointsman_binary)
ulimit -n "$(ulimit -Hn)"
stage_auth=trust
stage_open bench
say "starting PostgreSQL, pgbench scale $scale"
start_primary primary; primary_port=$port
export PGHOST=127.0.0.1 PGUSER=postgres PGPASSWORD=postgres PGDATABASE=postgres
pgbench -i -q -s "$scale" -p "$primary_port" >"$stage/init.log" 2>&1 || { cat "$stage/init.log" >&2; fail "pgbench -i failed"; }

# write_policy NAME ACTIONS: a rule for every SELECT.
write_policy() {
  cat >"$stage/$1.yaml" <<END
apiVersion: pointsman/v1
kind: Policy
metadata: {name: bench}
spec:
  rules:
    - {name: all, match: {verb: select}, $2}
END
}
write_base() {
  echo "auth: {method: trust, users: [{name: postgres, password: postgres}]}"
  echo "primary: 'postgres://postgres:postgres@127.0.0.1:$primary_port/postgres'"
  echo "pool: {size: $pool}"
}
# write_plugged NAME CONFIG: one plugin that passes everything, which every SELECT is put before.
write_plugged() {
  write_base
  echo "policies: $stage/$1-policy.yaml"
  echo "plugins: [{name: noop, file: '$root/tests/guests/noop/noop-1.0.0.wasm', config: $2}]"
}
# Ninety-nine more that no rule names.
write_many() {
  write_plugged "$1" false | sed '$d'
  echo "plugins:"
  echo "  - {name: noop, file: '$root/tests/guests/noop/noop-1.0.0.wasm', config: false}"
  local number
  for ((number = 1; number < 100; number++)); do
    echo "  - {name: other$number, file: '$root/tests/guests/noop/noop-1.0.0.wasm', config: false}"
  done
}
targets=()
start_target() { targets+=("$1:$port:$pid"); }
start_pointsman_yaml none < <(write_base); start_target none
write_policy rule-policy "overrides: deny"
start_pointsman_yaml rule < <(write_base; echo "policies: $stage/rule-policy.yaml"); start_target rule
write_policy called-policy "plugins: [noop]"
start_pointsman_yaml called < <(write_plugged called false); start_target called
write_policy remembered-policy "plugins: [noop]"
start_pointsman_yaml remembered < <(write_plugged remembered true); start_target remembered
write_policy many-policy "plugins: [noop]"
start_pointsman_yaml many < <(write_many many); start_target many

python3 "$here/peers.py" --stage "$stage" --rounds "$rounds" --seconds "$seconds" --clients "$clients" --only "${only:-simple,prepared}" \
  --json "$json" --beside none "${targets[@]}"
exit
