#!/usr/bin/env bash
# Put a dump of Metabase's own database back.
#
#   restore.sh [--force] <dump>
#
# It is restored beside the present database and takes its name at the end, so a dump that fails changes
# nothing. A database that holds something is replaced with --force only, and kept under another name.
set -euo pipefail
# shellcheck source=deployments/hosts/metabase/database.sh
source "$(dirname "${BASH_SOURCE[0]}")/database.sh"

force=
if [[ ${1:-} == --force ]]; then
  force=yes
  shift
fi
[[ $# -eq 1 ]] || fail "which dump?" "nothing was done" "restore.sh [--force] <dump>"
dump=$1
[[ -r $dump ]] || fail "there is no dump $dump" "nothing was done" "ls ${METABASE_BACKUPS:-/var/backups/metabase}"
is_whole "$dump" || fail "$dump is not a whole dump" "nothing was done" "take an earlier one"

fresh=${database}_restoring
former=${database}_before_$(date --utc +%Y%m%dT%H%M%SZ)

exists() {
  [[ $(sql postgres --set=name="$1" <<<"select count(*) from pg_database where datname = :'name'") == 1 ]]
}

tables=0
if exists "$database"; then
  tables=$(sql "$database" <<<"select count(*) from pg_tables where schemaname not in ('pg_catalog', 'information_schema')")
  if [[ $tables -gt 0 && -z $force ]]; then
    fail "the database '$database' holds $tables tables" "nothing was changed" \
      "restore.sh --force $dump replaces it and keeps it under another name"
  fi
  users=$(sql postgres --set=name="$database" <<<"select count(*) from pg_stat_activity where datname = :'name' and backend_type = 'client backend'")
  [[ $users -eq 0 ]] ||
    fail "the database '$database' is in use by $users connections" "nothing was changed" \
      "docker compose stop metabase, then this again"
fi

# Left by a restore that was killed.
if exists "$fresh"; then
  sql postgres --set=fresh="$fresh" <<<'drop database :"fresh"'
fi
sql postgres --set=fresh="$fresh" <<<'create database :"fresh"'
if ! client pg_restore --exit-on-error --single-transaction --no-owner --no-privileges --no-password \
  --username="$user" --dbname="$fresh" <"$dump"; then
  sql postgres --set=fresh="$fresh" <<<'drop database :"fresh"'
  fail "pg_restore could not restore $dump" "'$database' is as it was" "take an earlier one"
fi

# Both names change, or none.
{
  if exists "$database"; then
    echo 'alter database :"name" rename to :"former";'
  fi
  echo 'alter database :"fresh" rename to :"name";'
} | sql postgres --single-transaction --set=name="$database" --set=former="$former" --set=fresh="$fresh"

if exists "$former"; then
  if [[ $tables -gt 0 ]]; then
    echo "The database before this is kept as $former; drop it when Metabase is as it should be"
  else
    sql postgres --set=former="$former" <<<'drop database :"former"'
  fi
fi
echo "Restored $dump as '$database'. Next: docker compose up --detach"
