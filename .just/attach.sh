#!/usr/bin/env bash
# Replaces the container of a service by a relay to this machine, and prints how to start the service here:
# attach.sh NAME [PORT]
set -euo pipefail
# shellcheck source=.just/lib.sh
. "$(dirname "$0")/lib.sh"

name=$1 port=${2-}
need_docker
need_settings
need_own_project
need_service "$name"
service=${name%%-*} ordinal=${name##*-}
case $service in
  order) : "${port:=$((8100 + ordinal))}" ;;
  repository) : "${port:=$((8200 + ordinal))}" ;;
  gateway) : "${port:=8300}" ;;
  statistics) : "${port:=8400}" ;;
  *) fail "$name cannot be attached." "Only our services can: gateway, statistics, order-N, repository-N." ;;
esac
[[ $port =~ ^[0-9]+$ ]] && ((port >= 1024 && port <= 65000)) || fail "$port is no port to listen on: expected 1024 to 65000."
kafka=$(address kafka 9092)

# Where containers reach this machine, and nobody else does: the bridge's address, or with Docker Desktop, whose engine
# is in a virtual machine, the loopback.
listen=127.0.0.1
if [[ $(docker info -f '{{.OperatingSystem}}') != 'Docker Desktop' ]]; then
  bridge=$(docker network inspect bridge -f '{{range .IPAM.Config}}{{.Gateway}} {{end}}' 2>/dev/null | cut -d' ' -f1)
  if [[ -n $bridge ]] && grep -q -- "|-- $bridge\$" /proc/net/fib_trie 2>/dev/null; then listen=$bridge; fi
fi

routes="80=host.docker.internal:$port" ports='' environment="MALL_HTTP__LISTEN=$listen:$port
MALL_KAFKA__BOOTSTRAP_SERVERS=localhost:${kafka##*:}"
case $service in
  order | repository) environment="MALL_ORDINAL=$ordinal
$environment" ;;
  gateway | statistics) # the way back: the other services have no port on this machine
    tens=$((port / 10)) # the ordinal is the last digit of a port
    for other in order repository; do
      tens=$((tens + 1))
      for n in 0 1 2; do
        routes+=" $tens$n=$other-$n.$other:80"
        ports+="${ports:+, }\"127.0.0.1:$tens$n:$tens$n\""
      done
      environment+=$'\n'"MALL_GATEWAY__${other^^}_URL=http://127.0.0.1:$tens{ordinal}"
    done
    if [[ $service == statistics ]]; then
      tens=$((tens + 1))
      routes+=" ${tens}0=gateway:80" ports+=", \"127.0.0.1:${tens}0:${tens}0\""
      environment+=$'\n'"MALL_STATISTICS__GATEWAY_URL=http://127.0.0.1:${tens}0"
    fi
    ;;
esac
# What the container had, but for what is different here.
while read -r line; do
  key=${line%%:*} value=${line#*: }
  value=${value#\"} value=${value%\"}
  case $key in
    MALL_KAFKA__BOOTSTRAP_SERVERS | MALL_HTTP__LISTEN | MALL_ORDINAL | MALL_GATEWAY__*_URL) ;;
    MALL_*) environment+=$'\n'"$key=$value" ;;
  esac
done < <(docker compose config "$name" 2>/dev/null | awk -v name="$name" '/^  [a-z]/ { mine = ($1 == name ":") } mine && /^      MALL_/ { sub(/^ +/, ""); print }')

override=$(mktemp)
trap 'rm -f "$override"' EXIT
cat >"$override" <<END
services:
  $name:
    command: [relay, $(sed 's/ /, /g' <<<"$routes")]
    extra_hosts: ["host.docker.internal:host-gateway"]
    labels: {mall.attached: "$listen:$port"}
    healthcheck: {disable: true}
    ports: [$ports]
END
again=
[[ -z $(attached | grep -x "$name" || true) ]] || again=' (it was attached already)'
COMPOSE_FILE=${COMPOSE_FILE:-compose.yaml}:$override docker compose up -d --no-deps --no-build "$name" >"$override.log" 2>&1 ||
  { quote <"$override.log"; rm -f "$override.log"; fail "$name could not be attached." "It is as it was, or: just detach $name"; }
rm -f "$override.log"
ok "$name is attached$again. Until it runs here, its clients get 503. Start it:"
printf '\n'
shell='' json=''
while IFS='=' read -r key value; do
  shell+="$key=$(printf '%q' "$value") \\"$'\n'
  json+="${json:+,$'\n'    }\"$key\": \"$value\""
done <<<"$environment"
printf '%scargo run -- %s\n\n' "$shell" "$service"
printf 'Or in an editor, launch.json of Visual Studio Code with CodeLLDB:\n\n'
cat <<END
{
  "name": "$name", "type": "lldb", "request": "launch",
  "cargo": {"args": ["build", "--bin", "mall"]}, "args": ["$service"],
  "env": {
    $json
  }
}

Back into its container: just detach $name
END
