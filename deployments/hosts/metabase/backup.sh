#!/usr/bin/env bash
# Dump Metabase's own database into a folder, and keep the newest dumps.
#
#   backup.sh [folder]
#
# METABASE_BACKUPS         the folder, by default /var/backups/metabase
# METABASE_BACKUPS_KEPT    how many stay in it, by default 14
# METABASE_BACKUP_BUCKET   s3://bucket/prefix that each dump is copied to as well (by the AWS command line)
set -euo pipefail
# shellcheck source=deployments/hosts/metabase/database.sh
source "$(dirname "${BASH_SOURCE[0]}")/database.sh"

folder=${1:-${METABASE_BACKUPS:-/var/backups/metabase}}
kept=${METABASE_BACKUPS_KEPT:-14}
[[ $kept =~ ^[1-9][0-9]*$ ]] || fail "METABASE_BACKUPS_KEPT is '$kept'" "nothing was done" "set it to 1 or more"

# The dump holds people's names and addresses.
umask 077
mkdir -p "$folder"
exec 9>"$folder/.lock"
flock --nonblock 9 || fail "another backup into $folder is at work" "it goes on" "wait for it"

name=metabase-$(date --utc +%Y%m%dT%H%M%SZ).dump
unfinished=$folder/.$name.part
trap 'rm -f "$unfinished"' EXIT
client pg_dump --format=custom --no-owner --no-privileges --no-password \
  --username="$user" --dbname="$database" >"$unfinished" ||
  fail "pg_dump could not read the database '$database'" "earlier dumps stay in $folder" \
    "docker compose ps, then this again"
is_whole "$unfinished" || fail "the dump cannot be read back" "earlier dumps stay in $folder" "look at the disk"
mv "$unfinished" "$folder/$name"
echo "$folder/$name"

# Their names sort by time.
dumps=("$folder"/metabase-*.dump)
for ((at = 0; at < ${#dumps[@]} - kept; at++)); do
  rm -- "${dumps[at]}"
done

if [[ -n ${METABASE_BACKUP_BUCKET:-} ]]; then
  aws s3 cp --only-show-errors "$folder/$name" "${METABASE_BACKUP_BUCKET%/}/$name" ||
    fail "the dump could not be copied to $METABASE_BACKUP_BUCKET" "it is in $folder" "aws sts get-caller-identity"
  echo "${METABASE_BACKUP_BUCKET%/}/$name"
fi
