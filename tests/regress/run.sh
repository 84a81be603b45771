#!/bin/bash
# PostgreSQL's own regression schedule, direct and through Pointsman, each on a fresh server; lists what differs.
# usage: tests/regress/run.sh [--no-replica] [--direct-twice] [TEST...]       TEST: a few tests instead of the whole schedule
# The differences are kept under target/regress/MAJOR/differences; README.md here explains them one by one.
# --direct-twice leaves Pointsman out and shows what differs between two direct runs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../examples/lib.sh"
replica=1 twice= tests=()
for argument in "$@"; do
  case $argument in
    --no-replica) replica= ;;
    --direct-twice) twice=1 ;;
    -*) sed -n '3,5s/^# //p' "$0" >&2; exit 2 ;;
    *) tests+=("$argument") ;;
  esac
done

"$root/deploy/setup.sh" demo
keep=$("$here/fetch.sh")
[ -n "$twice" ] || pointsman=$(pointsman_binary)
stage_auth=trust
stage_open regress
pg_regress=$(dirname "$("$pg_bin/pg_config" --pgxs)")/../test/regress/pg_regress
[ -x "$pg_regress" ] || pg_regress=$(compgen -G "$pg_bin/../lib/pgxs/src/test/regress/pg_regress") \
  || fail "no pg_regress beside the server programs (Debian: package postgresql-client-MAJOR)"
# The server reads data files from here and writes results: both must be within the reach of its user.
cp -rL "$keep/tests" "$stage/input"
cp "$keep/regress.so" "$stage/"
chmod -R a+rX "$stage/input"

# run_schedule NAME PORT: results in $stage/NAME/results; failures against the expected files do not matter here.
run_schedule() {
  local out=$stage/$1 what=(--schedule="$stage/input/parallel_schedule")
  [ ${#tests[@]} -eq 0 ] || what=(test_setup "${tests[@]}")
  as_postgres mkdir -p "$out"
  say "running the schedule: $1"
  as_postgres timeout 1800 "$pg_regress" --inputdir="$stage/input" --outputdir="$out" --bindir="$pg_bin" --dlpath="$stage" \
    --max-connections=20 --host=127.0.0.1 --port="$2" --user=postgres "${what[@]}" >"$out.log" 2>&1 || true
  [ -d "$out/results" ] || { cat "$out.log" >&2; fail "pg_regress did not run"; }
  say "$1: $(grep -E 'tests (passed|failed)' "$out.log" | tr -s ' =' ' ')"
}

start_primary direct-server
run_schedule direct "$port"

start_primary primary; primary_port=$port
if [ -n "$twice" ]; then
  run_schedule proxied "$primary_port"
else
  replicas=
  if [ -n "$replica" ]; then
    start_replica replica "$primary_port"
    replicas="replicas: ['postgres://postgres:postgres@127.0.0.1:$port/postgres']"
  fi
  start_pointsman_yaml pointsman <<END
auth: {method: trust}
primary: 'postgres://postgres:postgres@127.0.0.1:$primary_port/postgres'
$replicas
pool: {size: 60}
END
  run_schedule proxied "$port"
fi

differences=$keep/differences
rm -rf "$differences"; mkdir -p "$differences"
same=0 different=()
for result in "$stage"/direct/results/*.out; do
  test=$(basename "$result" .out)
  if diff -U3 --label "direct/$test" --label "proxied/$test" <(sed "s#$stage/direct#OUT#g" "$result") \
      <(sed "s#$stage/proxied#OUT#g" "$stage/proxied/results/$test.out" 2>&1) >"$differences/$test.diff"; then
    rm "$differences/$test.diff"; same=$((same + 1))
  else
    different+=("$test ($(grep -c '^@@' "$differences/$test.diff") hunks)")
  fi
done
cp "$stage"/pointsman.log "$differences/" 2>/dev/null || true
echo "$same tests give the same output direct and proxied, ${#different[@]} differ"
[ ${#different[@]} -eq 0 ] || printf '  %s\n' "${different[@]}"
[ ${#different[@]} -eq 0 ] || echo "differences: $differences"
