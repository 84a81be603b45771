#!/bin/bash
# Holds the lexer and PostgreSQL's parser together over the SQL of PostgreSQL's regression tests: fetches Debian's
# postgresql-15 source package into target/corpus if it is not there, then runs the property tests of the SQL crate.
# Without the package the tests use statements of their own.
# usage: tests/corpus.sh [--fetch-only]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
corpus=${CARGO_TARGET_DIR:-target}/corpus
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# apt-get with lists of its own: the machine's sources may have no deb-src lines, and stay as they are.
private_apt() {
  apt-get -qq -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$work/lists" \
    -o Dir::Cache="$work/cache" -o APT::Sandbox::User= "$@"
}

fetch() { # fetch SUITE: the source archive from that suite, without unpacking the packaging
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/source"
  echo "deb-src $1 main" >"$work/sources.list"
  private_apt update && (cd "$work/source" && private_apt source --download-only postgresql-15)
}

unpack() {
  tar -xf "$work"/source/postgresql-15_*.orig.tar.* -C "$work" --wildcards '*/src/test/regress/sql/*.sql'
  mkdir -p "$corpus"
  cp "$work"/postgresql-*/src/test/regress/sql/*.sql "$corpus"/
}

if ! compgen -G "$corpus/*.sql" >/dev/null; then
  fetch "http://deb.debian.org/debian-security bookworm-security" 2>/dev/null \
    || fetch "http://deb.debian.org/debian bookworm" \
    || echo "the postgresql-15 source package could not be fetched: the tests use statements of their own" >&2
  if compgen -G "$work/source/*.orig.tar.*" >/dev/null; then unpack; fi
fi
[ "${1:-}" = --fetch-only ] || cargo test --locked --package pointsman-sql --test corpus
