#!/usr/bin/env bash
# One order: order.sh REGION
set -euo pipefail
# shellcheck source=.just/lib.sh
. "$(dirname "$0")/lib.sh"

need_docker
gateway=$(address gateway)
printf 'curl -d partition=%s http://%s/submit-order\n' "$1" "$gateway"
reply=$(curl -sS -m 10 -w '\nstatus %{http_code}' --data-urlencode "partition=$1" "http://$gateway/submit-order" 2>&1) ||
  fail "The gateway does not answer at http://$gateway: ${reply%%$'\n'*}" "just status"
# Broken between its members on a terminal, as it is elsewhere.
if [[ -t 1 ]]; then wrap '' ' ' "$(sed 's/,"/, "/g' <<<"${reply%$'\n'*}")"; else printf '%s\n' "${reply%$'\n'*}"; fi
printf '%s\n' "${reply##*$'\n'}"
# A 504 names the order too where it is known: whether it is in the log is what the next command tells.
id=$(sed -nE 's/.*"order_id":"([0-9]+)".*/\1/p' <<<"$reply")
case ${reply##*$'\n'} in
  *200 | *504) [[ -z $id ]] || printf 'just find %s\n' "$id" ;;
esac
