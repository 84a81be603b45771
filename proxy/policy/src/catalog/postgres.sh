#!/bin/sh
# Writes postgres.txt, what a fresh PostgreSQL says of its own functions, relations and operators, for catalogs that are
# assumed where there is no server to ask: proxy/policy/src/catalog/postgres.sh [directory of PostgreSQL's programs]
set -eu
bin=${1:-/usr/lib/postgresql/15/bin}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
as_postgres() { "$@"; }
if [ "$(id -u)" = 0 ]; then
  chown postgres "$work"
  as_postgres() { setpriv --reuid=postgres --regid=postgres --clear-groups env HOME="$work" "$@"; }
fi
stop() {
  as_postgres "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap stop EXIT
as_postgres "$bin/initdb" -D "$work/data" -A trust >/dev/null
as_postgres "$bin/pg_ctl" -D "$work/data" -w -o "-k $work -h ''" -l "$work/log" start >/dev/null

# The names after each word of the first column, cut to lines of about a hundred characters.
as_postgres "$bin/psql" -v ON_ERROR_STOP=1 -h "$work" -d postgres -XAtq > "$work/rows" <<'SQL'
SELECT * FROM (SELECT CASE worst WHEN 1 THEN 'immutable' WHEN 2 THEN 'stable' ELSE 'volatile' END AS tag, name FROM (
  SELECT max(CASE provolatile WHEN 'i' THEN 1 WHEN 's' THEN 2 ELSE 3 END) AS worst,
    CASE nspname WHEN 'pg_catalog' THEN '' ELSE nspname || '.' END || proname AS name
  FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace GROUP BY 2) f
UNION ALL
SELECT CASE relkind WHEN 'v' THEN 'view' ELSE 'table' END,
  CASE nspname WHEN 'pg_catalog' THEN '' ELSE nspname || '.' END || relname
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'v') AND nspname IN ('pg_catalog', 'information_schema')) everything
ORDER BY tag, name COLLATE "C";
SQL
{
  echo "# PostgreSQL $("$bin/postgres" --version | sed 's/.* \([0-9][0-9]*\)\..*/\1/'), by postgres.sh. Names of pg_catalog stand without it."
  awk -F'|' '
    $1 != tag || length(line) + length($2) > 108 { if (line) print line; tag = $1; line = $1 }
    { line = line " " $2 }
    END { print line }' "$work/rows"
} > "$here/postgres.txt"
