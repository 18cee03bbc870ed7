#!/usr/bin/env bash
# What is done to one container: container.sh kill|revive|pause|resume NAME
set -euo pipefail
# shellcheck source=.just/lib.sh
. "$(dirname "$0")/lib.sh"

verb=$1 name=$2
need_docker
need_service "$name"
id=$(docker compose ps -aq "$name" 2>/dev/null) || true
[[ -n $id ]] || fail "$name is not there." "just up"
state=$(docker inspect -f '{{.State.Status}}' "$id")

# wants STATE WORDS: what the verb needs to make sense.
wants() { [[ $state == "$1" ]] || fail "$name $2 (it is $state)." "just status"; }
case $verb in
  kill)
    wants running "does not run"
    docker kill "$id" >/dev/null
    echo "$name is killed. Back again: just revive $name"
    ;;
  revive)
    wants exited "was not killed"
    docker start "$id" >/dev/null
    echo "$name starts."
    ;;
  pause)
    wants running "does not run"
    docker pause "$id" >/dev/null
    echo "$name is frozen. On again: just resume $name"
    ;;
  resume)
    wants paused "is not frozen"
    docker unpause "$id" >/dev/null
    echo "$name goes on."
    ;;
esac
