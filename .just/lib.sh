# shellcheck shell=bash disable=SC2034
# What the scripts beside this file share. They need Docker, curl and bash 3.2 (the one of macOS), nothing else.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

red='' green='' yellow='' bold='' dim='' plain=''
if [[ -t 1 && -z ${NO_COLOR-} && ${TERM-dumb} != dumb ]]; then
  red=$'\e[31m' green=$'\e[32m' yellow=$'\e[33m' bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'
fi

# The width to print for: no limit where no terminal is.
columns=999
if [[ -t 1 ]]; then columns=$(tput cols 2>/dev/null </dev/tty || echo 80); fi
((columns > 20)) || columns=80

# wrap FIRST REST TEXT: prints the text between words, each line behind its prefix, so that the terminal breaks none.
wrap() {
  local prefix=$1 rest=$2 line='' word words=()
  read -r -a words <<<"$3" || true
  for word in ${words[@]+"${words[@]}"}; do
    if [[ -n $line ]] && ((${#line} + ${#word} + 5 > columns)); then
      printf '%s%s%s\n' "$prefix" "$line" "$plain"
      prefix=$rest line=$word
    else
      line+=${line:+ }$word
    fi
  done
  printf '%s%s%s\n' "$prefix" "$line" "$plain"
}
ok() { wrap "$green✅ " "   $green" "$*"; }
warn() { wrap "$yellow⚠️  " "   $yellow" "$*"; }
bad() { wrap "$red❌ " "   $red" "$*"; }
hint() { wrap "   " "   " "$*"; }
# quote: what another program has said, line by line.
quote() {
  local line
  while IFS= read -r line; do wrap "   $dim│$plain " "   $dim│$plain   " "$line"; done
}

# fail WHAT [NEXT...]: says what is wrong and what to do about it, and ends the script.
fail() {
  bad "$1" >&2
  shift
  local line
  for line; do hint "$line" >&2; done
  exit 1
}

# at_least VERSION MINIMUM: compares the first two numbers.
at_least() {
  local major=${1%%.*} rest=${1#*.}
  local minor=${rest%%[!0-9]*}
  ((${major:-0} > ${2%%.*} || (${major:-0} == ${2%%.*} && ${minor:-0} >= ${2#*.})))
}

need_docker() {
  command -v docker >/dev/null || fail "There is no \`docker\` command." "Install Docker Desktop, or Docker Engine with its Compose plugin."
  local answer
  if ! answer=$(docker version -f '{{.Server.Version}}' 2>&1); then
    case $answer in
      *"permission denied"*) fail "You may not talk to the Docker engine." "sudo usermod -aG docker \"\$USER\", then log in again." ;;
      *) fail "The Docker engine does not answer." "Start Docker Desktop, or: sudo systemctl start docker" "It said: ${answer##*$'\n'}" ;;
    esac
  fi
  engine=$answer
  at_least "$engine" 25.0 || fail "Docker engine $engine is too old: 25 or later is needed." "Update Docker."
  compose=$(docker compose version --short 2>/dev/null) || fail "There is no \`docker compose\` (version 2)." \
    "\`docker-compose\` with a hyphen is version 1 and cannot read compose.yaml." "Install the package docker-compose-plugin, or update Docker Desktop."
  compose=${compose#v}
  at_least "$compose" 2.24 || fail "Compose $compose is too old: 2.24 or later is needed." "Update the Compose plugin, or Docker Desktop."
}

# Two clones must not take each other's containers: a project belongs to the directory that has started it.
need_own_project() {
  local here owner
  here=$(pwd -P)
  owner=$(docker compose ps -aq 2>/dev/null | sed -n 1p)
  [[ -n $owner ]] || return 0
  owner=$(docker inspect -f '{{index .Config.Labels "com.docker.compose.project.working_dir"}}' "$owner" 2>/dev/null) || return 0
  [[ -z $owner || $owner -ef $here ]] || fail "A mall of another directory runs under the same name: $owner" \
    "End it there (just down), or give this one a name and ports of its own, in the file .env:" \
    "COMPOSE_PROJECT_NAME=mall-2" "GATEWAY_PORT=8180" "STATISTICS_PORT=8181" "KAFKA_PORT=9192" "ZOOKEEPER_PORT=2281"
}

# in_env_file KEY: what the file .env says, or nothing.
in_env_file() {
  [[ ! -e .env ]] || sed -nE "s/^(export +)?$1=[\"']?([^\"']*)[\"']?[[:space:]]*$/\2/p" .env | tail -1
}

# Settings that cannot be what they say, and those that do not arrive.
need_settings() {
  docker compose config -q || fail "compose.yaml cannot be read, see above." "Check the file .env and the variables of .env.example."
  local key value
  while read -r key value; do
    [[ -z $(in_env_file "$key") || $(in_env_file "$key") == "$value" ]] || fail "$key=$(in_env_file "$key") in the file .env contradicts compose.yaml, where it is $value." \
      "Take it out of .env. Another number of regions: cargo run -- --replicas 5, or k8s/README.md."
  done <<'END'
MALL_REPLICAS 3
MALL_KAFKA__BOOTSTRAP_SERVERS kafka:19092
END
  for key in MALL_ORDINAL MALL_HTTP__LISTEN MALL_CONFIG; do
    [[ -z $(in_env_file $key) ]] || fail "$key in the file .env would be the same for every container." "Take it out of .env."
  done
  for key in $(compgen -e | grep '^MALL_' | grep -v '^MALL_TEST_' || true); do
    [[ $(in_env_file "$key") == "${!key}" ]] || warn "$key is set in this shell, and no container sees that: write it into the file .env."
  done
}

# need_service NAME: fails unless compose.yaml has it.
need_service() {
  local names
  names=$(docker compose config --services | sort | tr '\n' ' ')
  [[ " $names" == *" $1 "* ]] || fail "There is no service $1." "There are: $names"
}

# Every container of the project, one a line:
# service|id|state|health|restarts|exit code|killed for memory|where it is attached
containers() {
  local ids
  ids=$(docker compose ps -aq) || true
  [[ -n $ids ]] || return 0
  # A container may go between the two commands: the others are told all the same.
  # shellcheck disable=SC2086  # one argument for each id
  { docker inspect -f '{{index .Config.Labels "com.docker.compose.service"}}|{{printf "%.12s" .ID}}|{{.State.Status}}|{{with .State.Health}}{{.Status}}{{end}}|{{.RestartCount}}|{{.State.ExitCode}}|{{.State.OOMKilled}}|{{index .Config.Labels "mall.attached"}}' $ids 2>/dev/null || true; } | sort
}

# attached: the services that a process of this machine stands in for, one a line.
attached() { containers | awk -F'|' '$8 != "" { print $1 }'; }

# address SERVICE [PORT]: where it is published on this machine, as host:port.
address() {
  local found
  found=$(docker compose port "$1" "${2:-80}" 2>/dev/null) || true
  [[ -n $found && $found != *:0 ]] || fail "$1 is not running." "just up"
  printf '%s\n' "$found"
}

# The ports that compose.yaml publishes, one a line: service variable port
ports() {
  docker compose config | awk '/^  [a-z]/ { sub(":", "", $1); service = $1 } /published:/ { gsub("\"", "", $2); print service, toupper(service) "_PORT", $2 }'
}

# Fails where another program holds a port that the mall is about to publish.
need_ports() {
  local service variable port
  while read -r service variable port; do
    ours "$service" "$port" || ! taken "$port" || fail "Port $port on 127.0.0.1 is taken by another program; $service wants it." \
      "End that program (lsof -i :$port names it), or choose another port:" "$variable=$((port + 100)) just up    (for good: in the file .env)"
  done < <(ports)
}

inner_port() { case $1 in kafka) echo 9092 ;; prometheus) echo 9090 ;; zookeeper) echo 2181 ;; *) echo 80 ;; esac; }
# ours SERVICE PORT: whether it is the mall itself that has the port.
ours() { [[ $(docker compose port "$1" "$(inner_port "$1")" 2>/dev/null) == *:"$2" ]]; }
taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# number KEY JSON: the first number under that key.
number() { grep -o "\"$1\":[0-9]*" <<<"$2" | sed -n 1p | cut -d: -f2; }
