#!/usr/bin/env bash
# A table of the containers: state, readiness at this moment, memory, and how many orders wait for each repository.
set -euo pipefail
# shellcheck source=.just/lib.sh
. "$(dirname "$0")/lib.sh"

need_docker
all=$(containers)
[[ -n $all ]] || fail "Nothing runs." "just up"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# Docker checks a healthy container every 30 s only: those that can be asked are asked now.
while IFS='|' read -r service id state _; do
  case $service/$state in
    topics/* | kafka/* | prometheus/* | zookeeper/*) ;;
    */running) (docker exec "$id" /mall healthcheck >"$tmp/$service" 2>&1 && echo ready >"$tmp/$service") & ;;
  esac
done <<<"$all"
memory=$(docker stats --no-stream --format '{{.ID}} {{.MemUsage}}')
statistics=$(docker compose port statistics 80 2>/dev/null || true)
figures=$(curl -sf -m 3 "http://$statistics/api/statistics" 2>/dev/null || true)
waiting=$(grep -o '"waiting":[0-9]*' <<<"$figures" | cut -d: -f2 || true) # regions in order, then the total
wait

regions=(陕北 关中 陕南) # two columns a character: padded by hand
well=1 reasons=()
printf '%s%-13s %-6s %-9s %-9s %9s %7s  %s%s\n' "$bold" service region state health memory waiting '' "$plain"
while IFS='|' read -r service id state health restarts code _ attached; do
  region='-     ' lag=-
  case $service in
    order-[0-2] | repository-[0-2]) region="${regions[${service##*-}]}  " ;;
  esac
  case $service in
    repository-[0-2]) lag=$(sed -n "$((${service##*-} + 1))p" <<<"$waiting") ;;
  esac
  if [[ -e $tmp/$service ]]; then
    said=$(<"$tmp/$service")
    case $said in
      ready) health=ready ;;
      *) [[ $health == starting ]] || health='not ready'
        detail=$(sed -nE 's/.*"detail":"([^"]*)".*/\1/p' <<<"$said")
        reasons+=("$service: ${detail:-$said}") ;;
    esac
  fi
  used=$(grep "^$id" <<<"$memory" | cut -d' ' -f2 || true)
  mark=✅
  case $service/$state/$health in
    topics/exited/*)
      state=finished
      [[ $code == 0 ]] || { mark="❌ exit code $code" well=; } ;;
    */running/ready | */running/healthy) ;;
    */running/starting) mark=⏳ well= ;;
    */exited/*) mark="❌ just revive $service" well= ;;
    */paused/*) mark="❌ just resume $service" well= ;;
    *) mark=❌ well= ;;
  esac
  [[ $restarts == 0 ]] || mark+=" restarted $restarts×"
  [[ -z $attached ]] || mark+=" attached"
  [[ -z $attached ]] || reasons+=("$service runs outside of its container, at $attached: just detach $service")
  printf '%-13s %s %-9s %-9s %9s %7s  %s\n' "$service" "$region" "$state" "${health:--}" "${used:--}" "${lag:-?}" "$mark"
done <<<"$all"

printf '\n'
for reason in ${reasons[@]+"${reasons[@]}"}; do hint "$reason"; done
if [[ -n $figures ]]; then
  total=${figures##*\"total\":}
  wrap '' '' "orders $(number orders "$total"), shipped $(number shipped "$total"), waiting $(number waiting "$total") (in the log, not yet shipped), duplicates $(number duplicates "$total"), rejected $(number rejected "$total")"
fi
[[ -n $well ]] || exit 1
