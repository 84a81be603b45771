#!/bin/bash
# Runs the steps of the plugins' READMEs as they are written: what is shipped is built, tested and asked its fixtures' cases, and so is a
# new plugin in each language.
# usage: tests/plugins.sh [shipped|rust|js|python]...     (all when none is named)
#   POINTSMAN_PLUGINS_OPTIONAL="js python"  these languages may be left out where their tools cannot be had
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
[ $# -gt 0 ] || set -- shipped rust js python
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() { echo "plugins: $*" >&2; exit 1; }

blocks() { # blocks FILE [HEADING]: its shell blocks, one after the other; of those below this heading, if there is one
  awk -v heading="${2:-}" '
    /^```sh$/ {inside = here || heading == ""; next}
    /^```$/ {inside = 0}
    /^#/ && !inside {here = ($0 == heading)}
    inside' "$1"
}

run() { # run FOLDER README [HEADING]: its steps, in that folder
  local steps start=$SECONDS
  steps=$(blocks "${@:2}")
  [ -n "$steps" ] || fail "$2 has no steps ${3:+below \"$3\"}"
  echo "== ${1#"$root"/}: steps of ${2#"$root"/} ${3:-}"
  (cd "$1" && bash -euxo pipefail -c "$steps")
  echo "plugins: $((SECONDS - start)) s"
}

# Languages whose tools are there; the others are told here and once more at the end.
lacking=()
there() { # there LANGUAGE: whether its tools are there
  local log=$scratch/setup-$1
  [[ " ${lacking[*]:-} " != *" $1 "* ]] || return 1
  [ ! -e "$log" ] || return 0
  deploy/setup.sh plugins "$1" 2>&1 | tee "$log" >&2 && return 0
  lacking+=("$1")
  return 1
}

shipped() { # shipped LANGUAGE: what the README says of its plugins
  case $1 in
    rust)
      run "$root" "$root/plugins/README.md" "### Rust"
      (cd plugins && cargo clippy --quiet --all-targets -- -D warnings && cargo fmt --all --check)
      ;;
    js) run "$root" "$root/plugins/README.md" "### JavaScript" ;;
    python) run "$root" "$root/plugins/README.md" "### Python" ;;
  esac
}

new() { # new LANGUAGE: a plugin as `pointsman plugin new` writes it
  (cd "$scratch" && pointsman plugin new --lang "$1" "new-$1")
  run "$scratch/new-$1" "$scratch/new-$1/README.md"
  # A case that expects another verdict is told, and fails.
  sed -i 's/message: this user only reads/message: something else/' "$scratch/new-$1/fixtures.yaml"
  local code=0
  (cd "$scratch/new-$1" && pointsman plugin test) >"$scratch/differs" || code=$?
  [ "$code" -eq 1 ] && grep -q '^FAIL  and does not write: message' "$scratch/differs" || fail "a case that differs is not told: exit code $code"
}

# `pointsman` in the READMEs is the one that was built.
pointsman=$(realpath -m "${POINTSMAN_BIN:-target/debug/pointsman}")
[ -x "$pointsman" ] || fail "$pointsman is not there: cargo build --workspace --bin pointsman"
mkdir "$scratch/bin"
ln -s "$pointsman" "$scratch/bin/pointsman"
# The plugins' builds share one folder, whatever the caller uses for the proxy's.
tools=$(realpath -m "${POINTSMAN_PLUGIN_TOOLS:-target/plugins}")
CARGO_TARGET_DIR=$(realpath -m "${POINTSMAN_PLUGIN_TARGET:-target/plugins/cargo}")
export CARGO_TARGET_DIR POINTSMAN_PLUGIN_TOOLS=$tools PATH=$scratch/bin:$tools/bin:$PATH
# What is shipped is built where it lies: one run at a time.
mkdir -p "$tools"
exec 8>"$tools/.run"; flock 8

for part in "$@"; do
  case $part in
    shipped)
      for language in rust js python; do
        if there "$language"; then shipped "$language"; fi
      done
      ;;
    rust | js | python) if there "$part"; then new "$part"; fi ;;
    *)
      sed -n '/^# usage/,/^set /s/^# //p' "$0" >&2
      exit 2
      ;;
  esac
done

failed=
for language in ${lacking[@]+"${lacking[@]}"}; do
  echo "plugins: NOT RUN: $language, for its tools cannot be had: $(grep '^setup: ' "$scratch/setup-$language" | tail -2 | head -1)" >&2
  [[ " ${POINTSMAN_PLUGINS_OPTIONAL:-} " = *" $language "* ]] || failed=1
done
[ -z "$failed" ] || fail "POINTSMAN_PLUGINS_OPTIONAL names the languages that may be left out"
[ ${#lacking[@]} -eq 0 ] || { echo "plugins: well, but for ${lacking[*]}"; exit 0; }
echo "plugins: all well"
