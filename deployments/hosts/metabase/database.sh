# shellcheck shell=bash
# How backup.sh and restore.sh reach Metabase's database: inside its container, or where PGHOST is set
# with this machine's own client programs (then PGPORT, PGUSER, PGDATABASE and PGPASSFILE are theirs too).

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034 # the scripts that read this file use it
database=${PGDATABASE:-metabase}
user=${PGUSER:-metabase}

# Run a client program; what it reads and writes is ours.
client() {
  if [[ -n ${PGHOST:-} ]]; then
    "$@"
  else
    docker compose --project-directory "$here" exec -T database "$@"
  fi
}

# Run SQL from the input, on a database of a name, stopping at the first error.
sql() {
  local on=$1
  shift
  client psql --no-psqlrc --quiet --tuples-only --no-align --no-password --set=ON_ERROR_STOP=1 \
    --username="$user" --dbname="$on" "$@"
}

# A whole dump can be read to its end; the list at its head says nothing of the rest.
is_whole() {
  [[ -s $1 ]] && client pg_restore --file=/dev/null <"$1" 2>/dev/null
}

fail() {
  printf 'Error: %s\nState: %s\nNext: %s\n' "$1" "$2" "$3" >&2
  exit 1
}
