#!/bin/bash
# Runs the steps of the plugins' READMEs as they are written: what is shipped is built and tested, and so is a new plugin in each language.
# usage: tests/plugins.sh [shipped|rust|js|python]...     (all when none is named)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
[ $# -gt 0 ] || set -- shipped rust js python
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

blocks() { # blocks FILE: its shell blocks, one after the other
  awk '/^```sh$/ {inside = 1; next} /^```$/ {inside = 0} inside' "$1"
}

run() { # run FOLDER README: its steps, in that folder
  local steps
  steps=$(blocks "$2")
  [ -n "$steps" ] || { echo "plugins: $2 has no steps" >&2; exit 1; }
  echo "== steps of ${2#"$root"/} in ${1#"$root"/}"
  (cd "$1" && bash -euxo pipefail -c "$steps")
}

is_wasm() { # is_wasm FILE...: each is WebAssembly
  local file
  for file in "$@"; do
    [ "$(head -c 4 "$file" | od -An -tx1 | tr -d ' ')" = 0061736d ] || { echo "plugins: $file is not WebAssembly" >&2; exit 1; }
    echo "plugins: $file: $(stat -c %s "$file") bytes"
  done
}

new() { # new LANGUAGE: a plugin as `pointsman plugin new` writes it
  (cd "$scratch" && "${POINTSMAN_BIN:-$root/target/debug/pointsman}" plugin new --lang "$1" "new-$1")
}

# The plugins' builds share one folder, whatever the caller uses for the proxy's.
export CARGO_TARGET_DIR=${POINTSMAN_PLUGIN_TARGET:-$root/target/plugins/cargo}
deploy/setup.sh plugins
export PATH=${POINTSMAN_PLUGIN_TOOLS:-$root/target/plugins}/bin:$PATH
release=$CARGO_TARGET_DIR/wasm32-unknown-unknown/release

for part in "$@"; do
  case $part in
    shipped)
      run "$root" "$root/plugins/README.md"
      is_wasm "$release"/{feed_invalidation,tenant_guard}.wasm plugins/column-mask/column-mask.wasm plugins/query-budget/query-budget.wasm
      (cd plugins && cargo clippy --quiet --all-targets -- -D warnings && cargo fmt --all --check)
      ;;
    rust)
      new rust
      run "$scratch/new-rust" "$scratch/new-rust/README.md"
      is_wasm "$release/new_rust.wasm"
      ;;
    js | python)
      new "$part"
      run "$scratch/new-$part" "$scratch/new-$part/README.md"
      is_wasm "$scratch/new-$part/plugin.wasm"
      ;;
    *)
      sed -n '3s/^# //p' "$0" >&2
      exit 2
      ;;
  esac
done
echo "plugins: all well"
