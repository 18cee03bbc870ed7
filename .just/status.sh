#!/usr/bin/env bash
# A table of the containers: state, health, memory, and how many orders wait for each repository.
set -euo pipefail
# shellcheck source=.just/lib.sh
. "$(dirname "$0")/lib.sh"

need_docker
all=$(containers)
[[ -n $all ]] || fail "Nothing runs." "just up"

memory=$(docker stats --no-stream --format '{{.ID}} {{.MemUsage}}')
statistics=$(docker compose port statistics 80 2>/dev/null || true)
figures=$(curl -sf -m 3 "http://$statistics/api/statistics" 2>/dev/null || true)
waiting=$(grep -o '"waiting":[0-9]*' <<<"$figures" | cut -d: -f2 || true) # regions in order, then the total

regions=(陕北 关中 陕南) # two columns a character: padded by hand
well=1
printf '%s%-13s %-6s %-10s %-10s %9s %8s  %s%s\n' "$bold" service region state health memory lag '' "$plain"
while IFS='|' read -r service id state health restarts code _; do
  region='-     ' lag=-
  case $service in
    order-[0-2] | repository-[0-2]) region="${regions[${service##*-}]}  " ;;
  esac
  case $service in
    repository-[0-2]) lag=$(sed -n "$((${service##*-} + 1))p" <<<"$waiting") ;;
  esac
  used=$(grep "^$id" <<<"$memory" | cut -d' ' -f2 || true)
  mark=✅
  if [[ $service == topics ]]; then
    if [[ $state/$code == exited/0 ]]; then state=finished; else mark="❌ exit code $code" well=; fi
  elif [[ $state/$health != running/healthy ]]; then
    well=
    mark=❌
    [[ $state != exited ]] || mark="❌ exit code $code: just revive $service"
    [[ $state != paused ]] || mark="❌ just resume $service"
    [[ $health != starting ]] || mark=⏳
  fi
  [[ $restarts == 0 ]] || mark+=" restarted $restarts×"
  printf '%-13s %s %-10s %-10s %9s %8s  %s\n' "$service" "$region" "$state" "${health:--}" "${used:--}" "${lag:-?}" "$mark"
done <<<"$all"

if [[ -n $figures ]]; then
  total=${figures##*\"total\":}
  printf '\norders %s, shipped %s, waiting %s, duplicates %s, rejected %s\n' "$(number orders "$total")" "$(number shipped "$total")" \
    "$(number waiting "$total")" "$(number duplicates "$total")" "$(number rejected "$total")"
fi
printf 'lag: orders that are in the log and not yet shipped\n'
[[ -n $well ]] || exit 1
