#!/usr/bin/env bash
# Builds the image, starts the mall, waits until all of it is healthy; says what is wrong where it does not become so.
set -euo pipefail
# shellcheck source=.just/lib.sh
. "$(dirname "$0")/lib.sh"

limit=120 # seconds from the first container to the last one healthy
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# What the build says: on a terminal the newest line, always in the same place; elsewhere all of it.
progress() {
  local line
  [[ -t 1 ]] || { cat; return; }
  while IFS= read -r line; do printf '\r\e[K  %s' "${line:0:columns-4}"; done
  printf '\r\e[K'
}

# likely_cause SERVICE EXIT-CODE OUT-OF-MEMORY LOG: for what people have run into.
likely_cause() {
  if [[ $3 == true || $2 == 137 ]]; then
    hint "It was killed, most likely for want of memory: give Docker 3 GB or more (just doctor)."
    return
  fi
  case $4 in
    *InconsistentClusterId*) hint "ZooKeeper is new and Kafka's data is old: just down && just up" ;;
    *NodeExists*) hint "Its predecessor's ZooKeeper session still lives; it comes back by itself within 10 s." ;;
    *SIGILL*) hint "An old Java on a new Mac: JAVA_TOOL_OPTIONS=-XX:UseSVE=0 just up" ;;
    *"exec format error"*) hint "The image is for another processor: docker image rm $image, then just up." ;;
    *) case $1/$2 in
      */64) hint "A setting is wrong, see above. Settings come from compose.yaml and from the file .env." ;;
      topics/1) hint "The topics are not as the settings want them. A clean cluster: just down && just up" ;;
      */75) hint "Another process has the same name: is a second mall running on this Kafka?" ;;
      *) hint "More: docker compose logs $1" ;;
    esac ;;
  esac
}

# explain CONTAINERS LATE: names every one that is not well, with the end of its log; where the time is up, those that
# are starting are not.
explain() {
  local service id state health restarts code memory lines found=
  while IFS='|' read -r service id state health restarts code memory _; do
    case $state/$health/$code/$restarts in
      created/* | running/healthy/*) continue ;; # well, or they wait for another one
      running/starting/*/0) [[ -n $2 ]] || continue ;;
      exited/*/0/*) [[ $service != topics ]] || continue ;;
    esac
    found=1
    case $state in
      running) bad "$service is ${health/starting/not ready after $limit s} (restarts: $restarts)." ;;
      *) bad "$service has ended with exit code $code (restarts: $restarts)." ;;
    esac
    lines=$(docker logs --tail 8 "$id" 2>&1 | cut -c1-300)
    if [[ $state == running && $health != healthy ]]; then
      lines+=$'\n'"health check: $(docker inspect -f '{{with .State.Health}}{{range .Log}}{{.Output}}{{end}}{{end}}' "$id" | tail -1 | cut -c1-300)"
    fi
    quote <<<"$lines"
    likely_cause "$service" "$code" "$memory" "$lines"
  done <<<"$1"
  if [[ -z $found ]]; then
    { grep -iE 'error|cannot|failed|invalid' "$log" || true; } | tail -3 | quote
    case $(<"$log") in
      *"address already in use"* | *"port is already allocated"* | *"orts are not available"*)
        hint "A port is taken: end the program that holds it, or set GATEWAY_PORT, STATISTICS_PORT, KAFKA_PORT or ZOOKEEPER_PORT." ;;
      *"no space left"*) hint "The disk is full: docker system df, docker builder prune" ;;
      *) hint "Not ready after $limit s. just status shows what is missing; docker compose logs says why." ;;
    esac
  fi
  hint "Clean up: just down"
}

need_docker
need_settings
need_own_project
need_ports
image=$(docker compose config --images statistics | grep -v confluentinc | sed -n 1p)

for service in zookeeper kafka; do
  theirs=$(docker compose config --images "$service" | grep "cp-$service")
  docker image inspect "$theirs" >/dev/null 2>&1 && continue
  printf 'Downloading %s\n  (about 0.5 GB; ZooKeeper and Kafka share most of it) …\n' "$theirs"
  docker compose pull "$service" || fail "Could not download $theirs." \
    "Is the registry in reach (network, proxy)? A mirror can be set: MALLENV_REGISTRY=mirror.example/ just up"
done

MALLENV_REVISION=$(git rev-parse --short HEAD 2>/dev/null || true)
export MALLENV_REVISION
if docker image inspect "$image" >/dev/null 2>&1; then
  printf 'Building %s (seconds, or a minute where code has changed) …\n' "$image"
else
  printf 'Building %s: some minutes the first time, and about 0.5 GB to\n  download (Rust, a C compiler, crates) …\n' "$image"
fi
how=auto
[[ -t 1 ]] || how=plain
if ! docker compose --progress "$how" build topics 2>&1 | tee "$log" | progress; then
  tail -25 "$log" | quote
  case $(<"$log") in
    *"no such host"* | *"i/o timeout"* | *"failed to resolve"* | *"pull access denied"*)
      fail "The image could not be built: a base image is out of reach." "A mirror can be set: MALLENV_REGISTRY=… and MALLENV_RUNTIME=…, see .env.example." ;;
    *"Could not resolve host"* | *"spurious network error"* | *"Temporary failure resolving"*)
      fail "The image could not be built: the build has no network." \
        "Behind a proxy, set it in ~/.docker/config.json. Mirrors: MALLENV_APT_MIRROR and MALLENV_CRATES_MIRROR, see .env.example." ;;
    *"no space left"*) fail "The image could not be built: the disk is full." "docker system df, docker builder prune" ;;
    *) fail "The image could not be built, see above." "All of it: docker compose --progress plain build topics" ;;
  esac
fi

for service in $(attached); do printf '%s goes back into its container (just attach %s).\n' "$service" "$service"; done
started=$SECONDS
printf 'Starting …\n'
docker compose up -d --no-build --remove-orphans --wait --wait-timeout "$limit" >"$log" 2>&1 &
pid=$!
trap 'rm -f "$log"; kill "$pid" 2>/dev/null || true' EXIT
said='' seen=''
while kill -0 "$pid" 2>/dev/null; do
  waiting='' broken='' seen=$(containers)
  while IFS='|' read -r service _ state health restarts code _; do
    [[ -n $service ]] || continue # there is no container yet
    case $state/$health in created/* | running/healthy | exited/) ;; *) waiting+=" $service" ;; esac
    # A wrong setting does not become right, and what has died three times will die again.
    [[ $code != 64 && ($restarts -lt 3 || $state != restarting) ]] || broken=$service
  done <<<"$seen"
  if [[ -n $broken ]]; then
    kill "$pid" 2>/dev/null || true
    break
  fi
  if [[ $waiting != "$said" && -n $waiting ]]; then
    line="$((SECONDS - started)) s  waiting for$waiting"
    ((${#line} + 3 <= columns)) || line="${line:0:columns-4}…"
    printf '  %s%s%s\n' "$dim" "$line" "$plain"
    said=$waiting
  fi
  sleep 1
done
if ! wait "$pid"; then
  late=
  [[ -n $broken ]] || { seen=$(containers) late=1; }
  explain "$seen" "$late"
  exit 1
fi

gateway=$(address gateway) statistics=$(address statistics) kafka=$(address kafka 9092)
ok "The mall is open, after $((SECONDS - started)) s."
cat <<END

  Gateway     http://$gateway
  Dashboard   http://$statistics
  Kafka       localhost:${kafka##*:}

  ${bold}Next${plain}
  just test          three orders to each region, followed through every log
  just order 1       one order, to region 1
  just kill order-1  then just order 0, just order 1, just revive order-1
  just status        what runs, and how it is
  just down          the end; the next start is a clean cluster
END
