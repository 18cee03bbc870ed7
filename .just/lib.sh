# shellcheck shell=bash disable=SC2034
# What the scripts beside this file share. They need Docker, curl and bash 3.2 (the one of macOS), nothing else.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

red='' green='' yellow='' bold='' dim='' plain=''
if [[ -t 1 && -z ${NO_COLOR-} && ${TERM-dumb} != dumb ]]; then
  red=$'\e[31m' green=$'\e[32m' yellow=$'\e[33m' bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'
fi

ok() { printf '%s✅ %s%s\n' "$green" "$*" "$plain"; }
warn() { printf '%s⚠️  %s%s\n' "$yellow" "$*" "$plain"; }
bad() { printf '%s❌ %s%s\n' "$red" "$*" "$plain"; }
hint() { printf '   %s\n' "$*"; }

# fail WHAT [NEXT...]: says what is wrong and what to do about it, and ends the script.
fail() {
  bad "$1" >&2
  shift
  local line
  for line; do hint "$line" >&2; done
  exit 1
}

# The width to print for: no limit where no terminal is.
columns=999
if [[ -t 1 ]]; then columns=$(tput cols 2>/dev/tty || echo 80); fi

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
  at_least "$engine" 20.10 || fail "Docker engine $engine is too old: 20.10 or later is needed." "Update Docker."
  compose=$(docker compose version --short 2>/dev/null) || fail "There is no \`docker compose\` (version 2)." \
    "\`docker-compose\` with a hyphen is version 1 and cannot read compose.yaml." "Install the package docker-compose-plugin, or update Docker Desktop."
  compose=${compose#v}
  at_least "$compose" 2.24 || fail "Compose $compose is too old: 2.24 or later is needed." "Update the Compose plugin, or Docker Desktop."
}

# Every container of the project, one a line: service|id|state|health|restarts|exit code|killed for memory
containers() {
  local ids
  ids=$(docker compose ps -aq)
  [[ -n $ids ]] || return 0
  # shellcheck disable=SC2086  # one argument for each id
  docker inspect -f '{{index .Config.Labels "com.docker.compose.service"}}|{{printf "%.12s" .ID}}|{{.State.Status}}|{{with .State.Health}}{{.Status}}{{end}}|{{.RestartCount}}|{{.State.ExitCode}}|{{.State.OOMKilled}}' $ids 2>/dev/null | sort
}

# address SERVICE [PORT]: where it is published on this machine, as host:port.
address() {
  docker compose port "$1" "${2:-80}" 2>/dev/null || fail "$1 is not running." "just up"
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

inner_port() { case $1 in kafka) echo 9092 ;; zookeeper) echo 2181 ;; *) echo 80 ;; esac; }
# ours SERVICE PORT: whether it is the mall itself that has the port.
ours() { [[ $(docker compose port "$1" "$(inner_port "$1")" 2>/dev/null) == *:"$2" ]]; }
taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# number KEY JSON: the first number under that key.
number() { grep -o "\"$1\":[0-9]*" <<<"$2" | head -1 | cut -d: -f2; }
