#!/bin/bash
# Holds the lexer and PostgreSQL's parser together over the SQL of PostgreSQL's regression tests: fetches the postgresql-15
# source package into target/corpus if it is not there, then runs the property tests of the SQL crate.
# Without the package the tests use statements of their own.
# usage: tests/corpus.sh [--fetch-only]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tests/apt_source.sh
corpus=${CARGO_TARGET_DIR:-target}/corpus
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fetch() { # the source archive, without unpacking the packaging
  apt_source_lists "$work" || return 1
  mkdir "$work/source"
  (cd "$work/source" && apt_source "$work" postgresql-15 --download-only)
}

unpack() {
  tar -xf "$work"/source/postgresql-15_*.orig.tar.* -C "$work" --wildcards '*/src/test/regress/sql/*.sql'
  mkdir -p "$corpus"
  cp "$work"/postgresql-*/src/test/regress/sql/*.sql "$corpus"/
}

if ! compgen -G "$corpus/*.sql" >/dev/null; then
  if fetch; then unpack; else
    echo "the postgresql-15 source package could not be fetched: the tests use statements of their own" >&2
  fi
fi
[ "${1:-}" = --fetch-only ] || cargo test --locked --workspace --test corpus
