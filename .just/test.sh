#!/usr/bin/env bash
# Sends three orders to each region with curl, then follows each of them through the logs of all order services, all
# repositories and statistics: written, shipped and counted once, in its own region, and nowhere else.
#   test.sh          the mall of compose.yaml; GATEWAY_URL and STATISTICS_URL name other addresses
#   test.sh k8s      the mall in the cluster that kubectl is set to, namespace NAMESPACE (kafka-demo)
set -euo pipefail
# shellcheck source=.just/lib.sh
. "$(dirname "$0")/lib.sh"

each=3 elsewhere='' patience=6 # seconds for an order to get through; it takes milliseconds
tmp=$(mktemp -d)
children=()
trap 'rm -rf "$tmp"; [[ ${#children[@]} == 0 ]] || kill "${children[@]}" 2>/dev/null || true' EXIT

# Where the logs and the addresses come from. collect prints every line that the services have written since the start
# of the test, each behind the name of its service.
case ${1-compose} in
  compose)
    need_docker
    gateway=${GATEWAY_URL:-http://$(address gateway)}
    statistics=${STATISTICS_URL:-http://$(address statistics)}
    elsewhere=" $(attached | tr '\n' ' ')" # their logs are where they run
    since=$(docker info -f '{{.SystemTime}}') # the engine's clock: Docker Desktop has one of its own
    collect() {
      docker compose logs --no-color --since "$since" "${services[@]}" |
        sed -E $'s/\e\\[[0-9;]*[A-Za-z]//g; s/^([a-z]+(-[0-9]+)?)-[0-9]+ +\\| /\\1 /'
    }
    logs_hint='docker compose logs'
    ;;
  k8s)
    namespace=${NAMESPACE:-kafka-demo}
    # forward SERVICE: an address on this machine, any free port, for as long as the test runs.
    forward() {
      kubectl -n "$namespace" port-forward "service/$1" :80 >"$tmp/$1" 2>&1 &
      children+=($!)
      local _
      for _ in $(seq 50); do
        forwarded=$(sed -n 's/^Forwarding from \(127[^ ]*\).*/http:\/\/\1/p' "$tmp/$1")
        [[ -z $forwarded ]] || return 0
        sleep 0.1
      done
      fail "No way to the service $1 in the namespace $namespace: $(tail -1 "$tmp/$1")" "kubectl -n $namespace get pods"
    }
    gateway=${GATEWAY_URL-} statistics=${STATISTICS_URL-}
    [[ -n $gateway ]] || { forward gateway && gateway=$forwarded; }
    [[ -n $statistics ]] || { forward statistics && statistics=$forwarded; }
    began=$SECONDS
    collect() {
      local service name pids=()
      for service in "${services[@]}"; do
        name=pod/$service
        [[ $service != statistics ]] || name=deployment/statistics
        # A file each: what several processes write to one is torn apart in the middle of lines.
        kubectl -n "$namespace" logs "$name" --since=$((SECONDS - began + 5))s | sed "s/^/$service /" >"$tmp/log-$service" &
        pids+=($!)
      done
      wait "${pids[@]}" || true
      cat "$tmp"/log-*
    }
    logs_hint="kubectl -n $namespace logs"
    ;;
  *) fail "\"$1\" is no place to test." "test.sh compose, or test.sh k8s" ;;
esac

read_statistics() {
  curl -sS -m 5 "$statistics/api/statistics" 2>"$tmp/error" ||
    fail "statistics does not answer at $statistics: $(<"$tmp/error")" "just status"
}

# figure KEY REGION JSON: one number of one region. The last order is cut out, it has money too.
figure() { sed -E 's/"last_order":\{[^}]*\}//g' <<<"$3" | grep -o "\"$1\":[0-9]*" | sed -n "$(($2 + 1))s/.*://p"; }
# position TOPIC REGION JSON: up to where the figures count.
position() { sed -E "s/.*\"offsets\":\{[^}]*\"$1\":\[([0-9,]*)\].*/\1/" <<<"$3" | cut -d, -f$(($2 + 1)); }

# Every order is one index of these.
id=() partition=() offset=() region=() money=() written=() shipped=() counted=() problem=()

submit() { # REGION INDEX
  local reply code form
  id[$2]=- partition[$2]=$1 offset[$2]=- region[$2]='-   ' money[$2]=0 problem[$2]=''
  if (($2 >= regions)) && [[ ${id[$2 - regions]} == - ]]; then # a region that is down costs seconds an order
    problem[$2]="not sent: the order before it was refused"
    return
  fi
  if ! reply=$(curl -sS -m 8 -w '\n%{http_code}' -d "partition=$1" "$gateway/submit-order" 2>"$tmp/error"); then
    problem[$2]="gateway: $(head -1 "$tmp/error")"
    return
  fi
  code=${reply##*$'\n'} reply=${reply%$'\n'*}
  form="^\\{\"money\":([0-9]+),\"offset\":([0-9]+),\"order_id\":\"([0-9]+)\",\"partition\":$1,\"region\":\"([^\"]+)\",\"time\":[0-9]+,\"user_id\":\"[0-9]+\"\\}\$"
  if [[ $code != 200 ]]; then
    problem[$2]="gateway: status $code: $(tr '\n' ' ' <<<"$reply" | cut -c1-200)"
  elif [[ ! $reply =~ $form ]]; then
    problem[$2]="gateway: unexpected reply: $reply"
  else
    money[$2]=${BASH_REMATCH[1]} offset[$2]=${BASH_REMATCH[2]} id[$2]=${BASH_REMATCH[3]} region[$2]=${BASH_REMATCH[4]}
  fi
}

# hop INDEX SERVICE MESSAGE: sets `cell`, and notes a problem unless exactly one line of that service says so.
hop() {
  local lines count
  cell=attached
  [[ $elsewhere != *" $2 "* ]] || return 0
  lines=$(grep "^$2 .*\"message\":\"$3\"" "$tmp/order" || true)
  count=$(grep -c . <<<"$lines" || true)
  cell=$2
  if ((count == 0)); then
    cell=missing
    : "${problem[$1]:=$2: not in its log within $patience s}"
  elif ((count > 1)); then
    cell="$count times"
    : "${problem[$1]:=$2: $count times in its log}"
  elif [[ ! $lines =~ \"partition\":\"?${partition[$1]}[\",}] || ! $lines =~ \"offset\":${offset[$1]}[,}] ]]; then
    cell=differs
    : "${problem[$1]:=$2: another partition or offset in its log}"
  fi
}

# follow INDEX: looks for one order in what collect has found.
follow() {
  local n=${partition[$1]} stray
  problem[$1]=''
  grep -F "\"order_id\":\"${id[$1]}\"" "$tmp/lines" >"$tmp/order" || true
  hop "$1" "order-$n" "order written" && written[$1]=$cell
  hop "$1" "repository-$n" "order shipped" && shipped[$1]=$cell
  hop "$1" statistics "order counted" && counted[$1]=$cell
  stray=$(cut -d' ' -f1 "$tmp/order" | grep -vxE "order-$n|repository-$n|statistics" | sort -u | tr '\n' ' ' || true)
  [[ -z $stray ]] || : "${problem[$1]:=${stray% }: has an order of region $n in its log}"
}

before=$(read_statistics)
regions=${before#*\"regions\":} regions=${regions%%\"total\":*}
regions=$(grep -o '"partition":' <<<"$regions" | grep -c .) || fail "statistics at $statistics names no region: $before" "just status"
services=(statistics)
for ((n = 0; n < regions; n++)); do services+=("order-$n" "repository-$n"); done
printf 'POST %s/submit-order, partition=0 to %d, %d times each\n\n' "$gateway" $((regions - 1)) "$each"
total=0
for ((round = 0; round < each; round++)); do
  for ((n = 0; n < regions; n++)); do
    submit "$n" "$total"
    total=$((total + 1))
  done
done

# An order that the gateway has refused has no way to follow.
deadline=$((SECONDS + patience))
while :; do
  collect >"$tmp/lines" || true
  after=$(read_statistics)
  missing=
  for ((i = 0; i < total; i++)); do
    written[i]=- shipped[i]=- counted[i]=-
    [[ ${id[i]} != - ]] || continue
    follow "$i"
    # The statistics are read after the logs, so they may only be behind.
    ((offset[i] < $(position order "${partition[i]}" "$after"))) || missing=1
    case ${written[i]}${shipped[i]}${counted[i]} in *missing*) missing=1 ;; esac
  done
  if [[ -z $missing ]] || ((SECONDS >= deadline)); then break; fi
  sleep 0.3
done

row() { printf '%-19s  %s  %-8s %-13s %-10s  %-8s %s\n' "$@"; }
row "${bold}order              " region written shipped counted position "$plain"
failed=0 text_log='' seen_order='' seen_repository='' seen_statistics=''
for ((i = 0; i < total; i++)); do
  result=✅
  [[ -z ${problem[i]} ]] || result=❌ failed=$((failed + 1))
  # the region: two characters of two columns each
  row "${id[i]}" "${region[i]}  " "${written[i]}" "${shipped[i]}" "${counted[i]}" "${partition[i]}, ${offset[i]}" "$result"
  [[ -z ${problem[i]} ]] || hint "${problem[i]}"
  [[ ${written[i]} == missing ]] || seen_order=1
  [[ ${shipped[i]} == missing ]] || seen_repository=1
  [[ ${counted[i]} == missing ]] || seen_statistics=1
  [[ ${id[i]} == - ]] || : "${text_log:=$(grep -F "${id[i]}" "$tmp/lines" | grep -v '^[^ ]* {' | sed -n 1p | cut -d' ' -f1)}"
done

# What statistics has added must be what the batch was: exactly, where nobody else has ordered meanwhile.
printf '\n'
counted_all=1
for ((n = 0; n < regions; n++)); do
  count=0 sum=0 first='' last=''
  for ((i = 0; i < total; i++)); do
    [[ ${partition[i]} == "$n" && ${id[i]} != - ]] || continue
    count=$((count + 1)) sum=$((sum + money[i])) last=${offset[i]}
    : "${first:=$last}"
  done
  ((count > 0)) || continue
  orders=$(($(figure orders $n "$after") - $(figure orders $n "$before")))
  earned=$(($(figure money $n "$after") - $(figure money $n "$before")))
  sent=$(($(figure shipped $n "$after") - $(figure shipped $n "$before")))
  found="$orders orders, $earned money, $sent shipped"
  wanted="$count orders, $sum money, $count shipped"
  name=$(grep -o '"region":"[^"]*"' <<<"$(sed -E 's/"last_order":\{[^}]*\}//g' <<<"$after")" | sed -n "$((n + 1))s/.*:\"\(.*\)\"/\1/p")
  if [[ $(position order $n "$before") == "$first" && $(position order $n "$after") == $((last + 1)) && $(figure waiting $n "$before") == 0 ]]; then
    if [[ $found == "$wanted" ]]; then ok "statistics, $name: +$found"; else
      bad "statistics, $name: +$found; expected +$wanted"
      failed=$((failed + 1)) counted_all=0
    fi
  elif ((orders >= count && earned >= sum && sent >= count)); then
    ok "statistics, $name: +$found (others ordered at the same time)"
  else
    bad "statistics, $name: +$found; expected at least +$wanted"
    failed=$((failed + 1)) counted_all=0
  fi
done

# Logs that are set to be silent, or to be read by people, say nothing of a lost order.
if [[ -n $text_log ]]; then
  printf '\n'
  fail "The log of $text_log is text, and this test reads JSON: it cannot tell whether an order was lost." \
    "Take MALL_LOG__FORMAT out of the settings, then apply them again (just up)."
elif [[ -z $seen_order || -z $seen_repository || -z $seen_statistics ]] && ((counted_all == 1)); then
  printf '\n'
  fail "statistics has counted every order, but$([[ $seen_order ]] || echo ' order-N')$([[ $seen_repository ]] || echo ' repository-N')$([[ $seen_statistics ]] || echo ' statistics') wrote no line of any: the logs are set to leave them out." \
    "Set MALL_LOG__FILTER to info, or take it out of the settings, then apply them again (just up)."
fi
if ((failed > 0)); then
  printf '\n'
  fail "$failed checks failed; the first hop that did is named above." "just status, then: $logs_hint SERVICE | grep ORDER"
fi
ok "$total of $total orders were written, shipped and counted once, in $SECONDS s."
