#!/usr/bin/env bash
# Stops the mall and forgets its data.
set -euo pipefail
# shellcheck source=.just/lib.sh
. "$(dirname "$0")/lib.sh"

need_docker
need_own_project
docker compose --profile monitoring down -v --remove-orphans
