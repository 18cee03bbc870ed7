#!/usr/bin/env bash
# Looks for what keeps the mall from starting on this machine, and says what to do.
set -euo pipefail
# shellcheck source=.just/lib.sh
. "$(dirname "$0")/lib.sh"

wrong=0
problem() { wrong=$((wrong + 1)); bad "$1"; shift; local line; for line; do hint "$line"; done; }

need_docker
ok "Docker engine $engine (25 or later), Compose $compose (2.24 or later)"

if command -v curl >/dev/null; then ok "curl"; else problem "There is no \`curl\`: just test and just order need it."; fi

if docker buildx version >/dev/null 2>&1; then ok "buildx"; else problem "There is no \`docker buildx\`: the image cannot be built." "Install the package docker-buildx-plugin."; fi

memory=$(docker info -f '{{.MemTotal}}')
memory=$((memory / 1000000))
if ((memory >= 3000)); then
  ok "memory for Docker: $((memory / 1000)).$((memory % 1000 / 100)) GB (the mall takes 0.4 GB, the build 2 GB)"
else
  problem "Docker has $memory MB of memory, 3000 are needed." "Docker Desktop: Settings, Resources, Memory."
fi

# On a Mac or on Windows the directory is inside a virtual machine, whose disk cannot be asked from here.
root=$(docker info -f '{{.DockerRootDir}}')
if [[ -d $root ]]; then
  free=$(df -Pk "$root" | awk 'NR == 2 { print int($4 / 1000000) }')
  if ((free >= 8)); then ok "disk: $free GB free in $root"; else problem "$free GB are free in $root, 8 are needed to build." "docker system df, docker builder prune"; fi
fi

while read -r service variable port; do
  if ours "$service" "$port"; then
    ok "port $port: $service"
  elif taken "$port"; then
    problem "Port $port is taken by another program; $service wants it." "lsof -i :$port names it; or: $variable=$((port + 100)) just up"
  else
    ok "port $port is free for $service"
  fi
done < <(ports)

for image in $(docker compose config --images | sort -u); do
  if docker image inspect "$image" >/dev/null 2>&1; then
    ok "image $image"
  else
    printf '·  image %s is not here yet: just up %s it\n' "$image" "$([[ $image == *confluentinc/* ]] && echo downloads || echo builds)"
  fi
done

(need_settings) || wrong=$((wrong + 1))
(need_own_project) || wrong=$((wrong + 1))

((wrong == 0)) || fail "$wrong to put right, see above."
ok "Ready: just up"
