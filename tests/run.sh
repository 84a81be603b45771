#!/bin/bash
# Sets up what is missing, builds, and runs every test; says what it runs and ends with a summary.
# usage: tests/run.sh [STEP...]     steps, in order: setup build units tidy plugins suites drivers corpus (all when none is named)
# May run several times at once: servers use free ports and directories of their own.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset RUST_BACKTRACE
steps=("$@")
[ $# -gt 0 ] || steps=(setup build units tidy plugins suites drivers corpus)
summary=()
failed=0
# Every cargo command selects the whole workspace: with a part of it, cargo would unify features anew and build the
# dependencies again. What is built once is then given to the steps by its path.
debug=${CARGO_TARGET_DIR:-$PWD/target}/debug
export POINTSMAN_BIN=$debug/pointsman POINTSMAN=$debug/pointsman POINTSMAN_TOKIO_DRIVER=$debug/examples/tokio_driver

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

built=
build() {
  [ -z "$built" ] || return 0
  built=1
  step build cargo build --locked --workspace --all-targets
  [ "$failed" -eq 0 ] || finish
}

# The integration tests beside the crates' code; `corpus` and those of tests/ have steps of their own.
beside=()
for file in proxy/*/tests/*.rs proxy/*/tests/*/main.rs; do
  name=${file%/main.rs}
  [[ $file = */corpus.rs ]] || beside+=(--test "$(basename "$name" .rs)")
done

for name in "${steps[@]}"; do
  case $name in
    setup) step setup deploy/setup.sh test ;;
    build) build ;;
    units)
      build
      step units cargo test --locked --workspace --lib --bins "${beside[@]}" --no-fail-fast
      step "doc tests" cargo test --locked --workspace --doc
      ;;
    tidy) build; step tidy cargo test --locked --workspace --test tidy --no-fail-fast ;;
    suites) build; step suites cargo test --locked --workspace --test suites ;;
    drivers) build; step drivers tests/drivers/run.sh ;;
    corpus) build; step corpus tests/corpus.sh ;;
    plugins) build; step plugins tests/plugins.sh ;;
    *)
      sed -n '3s/^# //p' "$0" >&2
      exit 2
      ;;
  esac
done
finish
