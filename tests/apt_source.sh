# Source packages by apt-get from the system's own servers, whose lists may have no source entries: apt works on lists of
# its own and nothing outside their directory is changed. To be sourced.
#   apt_source_lists DIR          prepares DIR
#   apt_source DIR PACKAGE OPTION...    fetches PACKAGE's source into the current directory: the newest version that is there
#   apt_private DIR TOOL WORD...  apt-get or apt-cache with those lists

apt_source_lists() {
  local dir=$1 list
  command -v apt-get >/dev/null && command -v dpkg-source >/dev/null || return 1
  mkdir -p "$dir/sources" "$dir/lists/partial" "$dir/cache/archives/partial"; : >"$dir/none.list"
  for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ ! -f "$list" ] || sed -n 's/^deb \(.*\)/deb \1\ndeb-src \1/p' "$list" >"$dir/sources/$(basename "$list" .list).list"
  done
  for list in /etc/apt/sources.list.d/*.sources; do
    [ ! -f "$list" ] || sed 's/^Types: deb$/Types: deb deb-src/' "$list" >"$dir/sources/$(basename "$list")"
  done
  apt_private "$dir" apt-get update >&2 || echo "some package lists could not be read" >&2
}

# A server may list a version that it no longer has.
apt_source() {
  local dir=$1 package=$2 version; shift 2
  for version in $(apt_private "$dir" apt-cache showsrc --only-source "$package" | sed -n 's/^Version: //p' | sort -rVu); do
    apt_private "$dir" apt-get source "$@" "$package=$version" >&2 && return 0
  done
  return 1
}

apt_private() {
  local dir=$1 tool=$2; shift 2
  "$tool" -qq -o "Dir::Etc::sourcelist=$dir/none.list" -o "Dir::Etc::sourceparts=$dir/sources" -o "Dir::State::lists=$dir/lists" \
    -o "Dir::Cache=$dir/cache" -o APT::Sandbox::User= "$@"
}
