#!/usr/bin/env bash
# lab.sh TOOL [ARGUMENT...]: runs a tool of the lab in a container beside the mall. Ledgers stay in the directory .lab.
set -euo pipefail
# shellcheck source=.just/lib.sh
. "$(dirname "$0")/lib.sh"

need_docker
need_own_project
[[ -n $(containers) || "$*" == drill* && ${2-list} == list ]] || fail "The mall is not open." "just up"
mkdir -p .lab
# `just drill kill-order` is `mall drill run kill-order`.
if [[ $1 == drill ]]; then
  case ${2-list} in
    list) set -- drill list ;;
    random | heal | show | run | -*) ;;
    *) set -- drill run "${@:2}" ;;
  esac
fi
[[ ! -t 0 || ! -t 1 ]] || exec docker compose run --rm lab "$@"
# Without a terminal Compose passes a Ctrl-C on and ends at once, while the tool still gives back what it took away.
name=${COMPOSE_PROJECT_NAME:-mall}-lab-$$ code=0
trap : INT TERM
docker compose run --rm -T --name "$name" lab "$@" || code=$?
if [[ -n $(docker ps -q --filter "name=^/$name\$") ]]; then docker attach --no-stdin "$name" || code=$?; fi
exit "$code"
