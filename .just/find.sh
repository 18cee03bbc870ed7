#!/usr/bin/env bash
# What became of one order: find.sh ID
set -euo pipefail
# shellcheck source=.just/lib.sh
. "$(dirname "$0")/lib.sh"

# A number from 2^63 on is negative in bash.
if [[ ! $1 =~ ^(0|[1-9][0-9]{0,18})$ ]] || (($1 < 0)); then
  fail "\"$1\" is no order id: expected an integer below 2^63, without leading zeros." "just order 1 prints the id of a new order."
fi
need_docker
state=$(containers | awk -F'|' '$1 == "gateway" { print $3 }')
case $state in
  running) ;;
  '') fail "The mall is not open." "just up" ;;
  exited) fail "gateway does not run." "just revive gateway" ;;
  paused) fail "gateway is frozen." "just resume gateway" ;;
  *) fail "gateway does not run (it is $state)." "just status" ;;
esac
# In its container, so that neither Rust nor the right version of the program is needed here.
docker compose exec -T gateway /mall find --gateway http://127.0.0.1 "$1"
