#!/bin/bash
# Sets up what is missing, builds, and runs every test; says what it runs and ends with a summary.
# usage: tests/run.sh [STEP...]     steps, in order: setup build units tidy suites drivers corpus (all when none is named)
# May run several times at once: servers use free ports and directories of their own.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset RUST_BACKTRACE
steps=("$@")
[ $# -gt 0 ] || steps=(setup build units tidy suites drivers corpus)
summary=()
failed=0

step() { # step NAME COMMAND...: runs it, times it, remembers how it ended
  local name=$1 start=$SECONDS
  shift
  echo "== $name: $*"
  if "$@"; then
    summary+=("ok     $name ($((SECONDS - start)) s)")
  else
    summary+=("FAILED $name ($((SECONDS - start)) s)")
    failed=1
  fi
}

finish() {
  echo
  echo "== summary"
  printf '%s\n' "${summary[@]}"
  exit "$failed"
}

for name in "${steps[@]}"; do
  case $name in
    setup) step setup deploy/setup.sh test ;;
    build)
      step build cargo build --locked --package pointsman --bin pointsman
      [ "$failed" -eq 0 ] || finish
      step "build tests" cargo test --locked --workspace --all-targets --no-run
      [ "$failed" -eq 0 ] || finish
      ;;
    units) step units cargo test --locked --workspace --exclude pointsman-tests --no-fail-fast ;;
    tidy) step tidy cargo test --locked --package pointsman-tests --lib --test tidy --no-fail-fast ;;
    suites) step suites cargo test --locked --package pointsman-tests --test suites ;;
    drivers) if [ -x tests/drivers/run.sh ]; then step drivers tests/drivers/run.sh; fi ;;
    corpus) if [ -x tests/corpus.sh ]; then step corpus tests/corpus.sh; fi ;;
    *)
      sed -n '3s/^# //p' "$0" >&2
      exit 2
      ;;
  esac
done
finish
