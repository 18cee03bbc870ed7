#!/usr/bin/env bash
# Puts a service that is attached back into its container: detach.sh NAME
set -euo pipefail
# shellcheck source=.just/lib.sh
. "$(dirname "$0")/lib.sh"

name=$1
need_docker
need_own_project
need_service "$name"
state=$(containers | awk -F'|' -v name="$name" '$1 == name { print $3 "/" $8 }')
# Without a container, or with one that never started, somebody has interrupted an attach: that is put right too.
case $state in
  running/ | exited/ | paused/ | restarting/) fail "$name is not attached." "just status shows what is." ;;
esac
log=$(mktemp)
trap 'rm -f "$log"' EXIT
docker compose up -d --no-deps --no-build --wait --wait-timeout 60 "$name" >"$log" 2>&1 ||
  { quote <"$log"; fail "$name is not ready in its container within 60 s." "just status, docker compose logs $name" "Does it still run on this machine? A repository that is started twice fences itself."; }
ok "$name runs in its container again. End the one on this machine, if it still runs."
