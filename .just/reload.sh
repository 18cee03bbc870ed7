#!/usr/bin/env bash
# Builds the image and restarts our services, or some: reload.sh [NAME...]; `order` and `repository` are all replicas.
set -euo pipefail
# shellcheck source=.just/lib.sh
. "$(dirname "$0")/lib.sh"

need_docker
need_settings
need_own_project
wanted=("$@")
[[ $# -gt 0 ]] || wanted=(gateway order repository statistics)
services=()
for name in "${wanted[@]}"; do
  case $name in
    order | repository) names=("$name-0" "$name-1" "$name-2") ;;
    *) names=("$name") ;;
  esac
  for name in "${names[@]}"; do
    need_service "$name"
    if attached | grep -x "$name" >/dev/null; then
      echo "$name runs outside of its container: left alone."
    else
      services+=("$name")
    fi
  done
done
[[ ${#services[@]} -gt 0 ]] || exit 0
docker compose build topics || fail "The image could not be built, see above."
docker compose up -d --no-build --no-deps --wait --wait-timeout 60 "${services[@]}" ||
  fail "Not ready within 60 s." "just status shows what is missing; docker compose logs says why."
