#!/bin/bash
# Installs what a checkout needs and does not have; does nothing, quickly, when all is there.
# usage: deploy/setup.sh [build|demo|test|bench]
#        deploy/setup.sh plugins [rust|js|python]...
#   build  what compiles the program: C and C++ compiler, cmake, libclang, make
#   demo   build, and a PostgreSQL server (14 or newer), python3            (default)
#   test   demo, and Redis, openssl, a Python venv with psycopg 3 and asyncpg, node with pg, a JDK with the JDBC driver
#   bench  demo, and PgBouncer, HAProxy, Pgpool-II and Redis to compare with
#   plugins  what builds plugins in these languages (all when none is named): Rust's target wasm32-unknown-unknown (by rustup, or
#          else from Debian's packages), componentize-qjs, componentize-py; put target/plugins/bin in front of PATH to use them. What
#          cannot be had is told, and does not keep the others from being installed; the exit code is then 1.
# For Debian and Ubuntu, as root or with sudo. Rust (https://rustup.rs) is expected to be there already. The Python and node packages go
# under target/drivers in the checkout, plugins' tools under target/plugins; nothing else is written outside apt's and rustup's own places.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
drivers=${POINTSMAN_DRIVERS:-$root/target/drivers}
tools=${POINTSMAN_PLUGIN_TOOLS:-$root/target/plugins}
plugin_rust=${POINTSMAN_PLUGIN_RUST:-rustup} # anything else: Debian's packages, though rustup may be there
componentize_qjs=0.4.5 componentize_py=0.25.1
what=${1:-demo}
[ $# -eq 0 ] || shift
languages=(rust js python)
[ $# -eq 0 ] || languages=("$@")

say() { echo "setup: $*" >&2; }
fail() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

missing=()
need() { # need COMMAND PACKAGE...: the packages are wanted if the command is not there
  local command=$1; shift
  have "$command" || missing+=("$@")
}

postgres_there() {
  local bin
  for bin in "$(dirname "$(readlink -f "$(command -v pg_ctl || echo /nonexistent/pg_ctl)")")" /usr/lib/postgresql/*/bin; do
    [ -x "$bin/initdb" ] && [ -x "$bin/pg_basebackup" ] || continue
    [ "$("$bin/pg_ctl" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')" -ge 14 ] && return 0
  done
  return 1
}

# bindgen, in pg_query's build, loads libclang and reads clang's own headers (stddef.h), which the bare library lacks.
libclang_there() {
  [ -z "${LIBCLANG_PATH:-}" ] || return 0
  ldconfig -p | grep -q 'libclang[-.]' || compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null || return 1
  compgen -G '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' >/dev/null || compgen -G '/usr/lib/clang/*/include/stddef.h' >/dev/null
}

want_build() {
  need cc gcc libc6-dev; need c++ g++; need cmake cmake; need make make
  libclang_there || missing+=(libclang-dev)
}
want_demo() {
  want_build; need python3 python3; need psql postgresql-client; need curl curl
  postgres_there || missing+=(postgresql)
}
want_test() {
  want_demo; need redis-server redis-server; need redis-cli redis-tools; need setpriv util-linux
  need openssl openssl; need javac default-jdk-headless; need node nodejs; need npm npm
  [ -e /usr/share/java/postgresql.jar ] || missing+=(libpostgresql-jdbc-java)
  python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
}
want_bench() { want_demo; need pgbouncer pgbouncer; need haproxy haproxy; need pgpool pgpool2; need redis-server redis-server; need redis-benchmark redis-tools; }

want_plugins() {
  local language
  for language in "${languages[@]}"; do
    case $language in
      rust) ;;
      js) need node nodejs; need npm npm ;;
      python)
        need python3 python3
        python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
        ;;
      *) fail "no plugins in $language: there are rust, js and python" ;;
    esac
  done
}

install_missing() {
  [ ${#missing[@]} -gt 0 ] || return 0
  have apt-get || fail "missing: ${missing[*]}. Only apt is known here; install them by other means and run this again."
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    have sudo || fail "missing: ${missing[*]}. Installing them needs root: run as root, or 'apt-get install ${missing[*]}' by hand."
    sudo=(sudo)
  fi
  say "installing from apt: ${missing[*]}"
  # A PostgreSQL from apt would start a cluster of its own; the checkout only uses throwaway servers.
  local keep=/etc/postgresql-common/createcluster.conf
  if [[ " ${missing[*]} " == *" postgresql "* ]] && [ ! -e $keep ]; then
    "${sudo[@]}" mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | "${sudo[@]}" tee $keep >/dev/null
  fi
  "${sudo[@]}" apt-get update -qq || say "apt-get update failed; trying with the lists that are there"
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

driver_packages() {
  mkdir -p "$drivers/node"
  # Two runs at once: the second waits for the first, then finds everything there.
  exec 9>"$drivers/.lock"; flock 9
  if ! "$drivers/venv/bin/python" -c 'import psycopg, asyncpg' 2>/dev/null; then
    say "installing psycopg[binary] and asyncpg into $drivers/venv"
    rm -rf "$drivers/venv"; python3 -m venv "$drivers/venv"
    "$drivers/venv/bin/pip" install -q --disable-pip-version-check 'psycopg[binary]>=3.1,<4' 'asyncpg>=0.29'
  fi
  if [ ! -d "$drivers/node/node_modules/pg" ] || [ ! -d "$drivers/node/node_modules/pg-copy-streams" ]; then
    say "installing pg and pg-copy-streams into $drivers/node"
    (cd "$drivers/node" && npm install --silent --no-audit --no-fund pg@8 pg-copy-streams@7 >&2)
  fi
  exec 9>&-
}

# Rust for Wasm from Debian's packages, unpacked and not installed: its compiler, with the sources that belong to it, builds the standard
# library for the target. A `cargo` in front of the real one turns to it for that target alone.
debian_wasm() {
  local rust=$tools/rust
  have apt-get && have dpkg-deb || fail "rustup cannot add the target wasm32-unknown-unknown, and there are no Debian packages here"
  if [ ! -e "$rust/.complete" ]; then
    say "rustup cannot add the target: unpacking rustc-web, its library's sources and LLVM from apt (137 MB) into $rust"
    rm -rf "$rust" "$tools/debs"; mkdir -p "$rust" "$tools/debs"
    apt-cache show rustc-web >/dev/null 2>&1 || apt-get update -qq || true
    local std llvm
    std=$(apt-cache depends libstd-rust-web-dev 2>/dev/null | sed -n 's/.*Depends: \(libstd-rust-web-[0-9.]*\)$/\1/p' | head -1) || true
    llvm=$(apt-cache depends "$std" 2>/dev/null | sed -n 's/.*Depends: \(libllvm[0-9]*\).*/\1/p' | head -1) || true
    [ -n "$std" ] && [ -n "$llvm" ] || fail "rustup cannot add the target wasm32-unknown-unknown, and apt knows no rustc-web"
    fetch_wasm() { (cd "$tools/debs" && timeout 300 apt-get download -qq rustc-web "$std" libstd-rust-web-dev rust-web-src "$llvm" >&2); }
    # The lists may be older than what the servers have.
    fetch_wasm || { apt-get update -qq && fetch_wasm; } ||
      fail "rustup cannot add the target wasm32-unknown-unknown, and apt does not give rustc-web"
    local deb
    for deb in "$tools"/debs/*.deb; do dpkg-deb -x "$deb" "$rust"; done
    rm -rf "$tools/debs"
    LD_LIBRARY_PATH=$(echo "$rust"/usr/lib/*-linux-gnu) "$rust/usr/bin/rustc" --version >&2 || fail "rustc of $rust does not run"
    touch "$rust/.complete"
  fi
  local cargo linker
  cargo=$(PATH=${PATH//$tools\/bin:/} command -v cargo || echo "$HOME/.cargo/bin/cargo")
  linker=$(echo "$("$(dirname "$cargo")/rustc" --print sysroot)"/lib/rustlib/*-linux-gnu/bin/rust-lld)
  cat >"$tools/bin/cargo.new" <<EOF
#!/bin/bash
# Made by deploy/setup.sh: cargo, which builds for wasm32-unknown-unknown with a compiler that has that target.
if [[ " \$* " == *wasm32-unknown-unknown* ]]; then
  export RUSTC="$rust/usr/bin/rustc" RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_abort
  export LD_LIBRARY_PATH="$(echo "$rust"/usr/lib/*-linux-gnu)\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
  export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$linker"
fi
exec "$cargo" "\$@"
EOF
  chmod +x "$tools/bin/cargo.new"; mv "$tools/bin/cargo.new" "$tools/bin/cargo"
}

target_there() { [ "$plugin_rust" = rustup ] && have rustup && rustup target list --installed | grep -qx wasm32-unknown-unknown; }

plugin_rust() {
  if target_there; then
    rm -f "$tools/bin/cargo"
  elif [ ! -e "$tools/rust/.complete" ] && [ "$plugin_rust" = rustup ] && have rustup; then
    say "rustup target add wasm32-unknown-unknown"
    timeout 120 rustup target add wasm32-unknown-unknown >&2 || true
  fi
  target_there || debian_wasm
}

plugin_js() {
  local there=$tools/js/node_modules/componentize-qjs/package.json
  if ! grep -qF "\"version\": \"$componentize_qjs\"" "$there" 2>/dev/null || ! "$tools/bin/componentize-qjs" --help >/dev/null 2>&1; then
    say "installing componentize-qjs $componentize_qjs from npm into $tools/js"
    mkdir -p "$tools/js"
    cd "$tools/js"
    timeout 300 npm install --loglevel=error --no-audit --no-fund --fetch-retries=1 --fetch-timeout=60000 \
      "componentize-qjs@$componentize_qjs" >&2 || fail "npm does not give componentize-qjs $componentize_qjs"
    ln -sfn ../js/node_modules/.bin/componentize-qjs "$tools/bin/componentize-qjs"
    "$tools/bin/componentize-qjs" --help >/dev/null || fail "componentize-qjs does not run"
  fi
}

plugin_python() {
  if ! "$tools/bin/componentize-py" --version 2>/dev/null | grep -qF "$componentize_py"; then
    say "installing componentize-py $componentize_py from PyPI into $tools/python"
    python3 -m venv "$tools/python"
    timeout 300 "$tools/python/bin/pip" install -q --disable-pip-version-check --retries 1 --timeout 60 \
      "componentize-py==$componentize_py" >&2 || fail "pip does not give componentize-py $componentize_py"
    ln -sfn ../python/bin/componentize-py "$tools/bin/componentize-py"
    "$tools/bin/componentize-py" --version >/dev/null || fail "componentize-py does not run"
  fi
}

plugin_tools() {
  local language lacking=()
  mkdir -p "$tools/bin"
  # Two runs at once: the second waits for the first, then finds everything there.
  exec 9>"$tools/.lock"; flock 9
  for language in "${languages[@]}"; do
    # In the background, for an error is to end it, which it would not on the left of `||`.
    ("plugin_$language") & wait $! || lacking+=("$language")
  done
  exec 9>&-
  [ ${#lacking[@]} -eq 0 ] || fail "plugins cannot be built here in: ${lacking[*]} (the reasons are above)"
  say "export PATH=$tools/bin:\$PATH"
}

case $what in
  build | demo | test | bench | plugins) "want_$what" ;;
  *) sed -n '2,/^set /s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
have cargo || [ -x "$HOME/.cargo/bin/cargo" ] || fail "no cargo: install Rust from https://rustup.rs first"
if [ "$what" = plugins ]; then
  # Whoever lacks node can do with Rust: each language says for itself whether it can be had.
  (install_missing) & wait $! || say "not to be had from apt: ${missing[*]}"
else
  install_missing
fi
[ "$what" != test ] || driver_packages
[ "$what" != plugins ] || plugin_tools
say "$what: all there"
