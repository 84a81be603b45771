#!/bin/sh
# Runs fuzz targets: `run.sh [SECONDS [TARGET]...]`, 10 seconds each and all of them unless told otherwise.
# What makes one fail is kept in `artifacts/`, what it has learnt in `corpus/`.
set -eu
cd "$(dirname "$0")"
seconds=${1:-10}
[ $# -eq 0 ] || shift

# cargo-fuzz passes flags that the stable toolchain hides.
export RUSTC_BOOTSTRAP=1
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz

targets=${*:-$(sed -n 's/^name = "\([a-z_]*\)"$/\1/p' Cargo.toml)}
for target in $targets; do
    echo "== $target, $seconds s"
    cargo fuzz run --fuzz-dir . --sanitizer none "$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=1024 -verbosity=0 -print_final_stats=1
done
