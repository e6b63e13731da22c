#!/usr/bin/env bash
# Installs what the native stack needs and this machine lacks: server programs by apt-get, Python packages into .venv.
# Quick when nothing is missing. Servers that a package would start by itself are kept from starting; running ones are left alone.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
run=${FAIRLEAD_RUN_DIR:-$root/.run}
log=$run/logs/install.log
venv=$root/.venv
lock=$root/requirements/all.lock

say() { printf '%s\n' "$*"; }

fail() {
  say "✗ $1 failed; the end of $log:" >&2
  tail -n 20 "$log" | sed 's/^/  | /' >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    say "✗ this needs root: become root, or install sudo" >&2
    exit 1
  fi
}

have() { PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null 2>&1; }

# The first Python that is new enough, or nothing. 3.11 comes first: the lock was made and is tested with it.
find_python() {
  local name
  for name in python3.11 python3.12 python3.13 python3.14 python3; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
}

# The apt packages that bring what is not here. Programs are looked for, not packages: another source of them will do.
missing_packages() {
  compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || have postgres || echo postgresql
  [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || echo rabbitmq-server
  have dockerd || [ -S /var/run/docker.sock ] || echo docker.io
  have docker-registry || echo docker-registry
  have htpasswd || echo apache2-utils
  have busybox || echo busybox-static
  have curl || echo curl
  have ip || echo iproute2
  have iptables || echo iptables
  if [ "${1:-}" = --with-tests ]; then
    have docker-compose || echo docker-compose
    have systemd-analyze || echo systemd
  fi
  [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
  local python
  python=$(find_python)
  if [ -z "$python" ]; then
    echo python3 python3-venv
  elif [ ! -x "$venv/bin/python" ] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "python3-venv $(basename "$(readlink -f "$python")")-venv"
  fi
}

# 101 tells every package's script that it must not start its server. Removed again whatever happens.
policy=/usr/sbin/policy-rc.d
keep_servers_down() {
  [ -e "$policy" ] && return
  as_root sh -c "printf '#!/bin/sh\nexit 101\n' > $policy && chmod 755 $policy"
  trap 'as_root rm -f "$policy"' EXIT
}

# With systemd, the units of servers that were installed just now would start at the next boot and take ports and data of their own.
disable_units() {
  [ -d /run/systemd/system ] || return 0
  local package
  for package in "$@"; do
    case $package in
      postgresql) as_root systemctl disable --quiet postgresql.service ;;
      rabbitmq-server) as_root systemctl disable --quiet rabbitmq-server.service epmd.service epmd.socket ;;
      docker.io) as_root systemctl disable --quiet docker.service docker.socket containerd.service ;;
      docker-registry) as_root systemctl disable --quiet docker-registry.service ;;
    esac >>"$log" 2>&1 || true
  done
}

install_packages() {
  local packages=("$@")
  say "· apt-get install ${packages[*]}"
  command -v apt-get >/dev/null || { say "✗ this is neither Debian nor Ubuntu; install by hand: ${packages[*]}" >&2; exit 1; }
  keep_servers_down
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Options::=--force-confold)
  as_root "${apt[@]}" update >>"$log" 2>&1 || fail "apt-get update"
  local available=() package
  for package in "${packages[@]}"; do
    # A versioned venv package exists for the distribution's own Python only.
    if [[ $package != python3.*-venv ]] || apt-cache show "$package" >/dev/null 2>&1; then available+=("$package"); fi
  done
  as_root "${apt[@]}" install -y --no-install-recommends "${available[@]}" >>"$log" 2>&1 || fail "apt-get install"
  disable_units "${packages[@]}"
  say "✓ ${#available[@]} packages are installed"
}

install_python() {
  local stamp=$venv/.fairlead-lock wanted python
  wanted=$(sha256sum "$lock" | cut -d' ' -f1)
  if [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then return; fi
  python=$(find_python)
  say "· .venv with $("$python" --version 2>&1) and requirements/all.lock"
  if ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
    "$python" -m venv --clear "$venv" >>"$log" 2>&1 || fail "python -m venv"
  fi
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r "$lock" >>"$log" 2>&1 \
    || fail "pip install"
  printf '%s\n' "$wanted" >"$stamp"
  say "✓ .venv is ready"
}

# Compiles our own code, so that servers start quickly, and builds the wheel that the gateway hands to new nodes.
# Both again when a source has changed.
build_ours() {
  local newest
  newest=$(compgen -G "$root/dist/fairlead-*.whl" | head -n 1 || true)
  if [ -n "$newest" ] && [ -z "$(find pyproject.toml README.md kernel agent cli gateway services deploy -newer "$newest" -type f \
    -not -name '*.pyc' -print -quit)" ]; then return; fi
  env -u PYTHONDONTWRITEBYTECODE "$venv/bin/python" -m compileall -q kernel agent cli gateway services deploy >>"$log" 2>&1 || fail "compiling"
  rm -rf "$root/dist.new"
  "$venv/bin/python" -m hatchling build -t wheel -d "$root/dist.new" >>"$log" 2>&1 || fail "building the wheel"
  mkdir -p "$root/dist"
  rm -f "$root"/dist/fairlead-*.whl
  mv "$root"/dist.new/*.whl "$root/dist/"
  rm -rf "$root/dist.new"
  touch "$root"/dist/*.whl
  say "✓ our own code is compiled, and the wheel for agents is built"
}

mkdir -p "$run/logs"
read -r -a packages <<<"$(missing_packages "$@" | tr '\n' ' ')"
if [ "${1:-}" = --python-only ]; then
  packages=($(printf '%s\n' "${packages[@]}" | grep '^python' || true))
fi
if [ ${#packages[@]} -gt 0 ]; then
  if [[ " ${packages[*]} " == *" python"* ]]; then
    install_packages "${packages[@]}"
  else
    # Nothing of apt's is needed for .venv: both at once.
    install_python &
    python_job=$!
    install_packages "${packages[@]}"
    wait "$python_job" || exit 1
  fi
fi
install_python
if [ "${1:-}" != --python-only ]; then build_ours; fi
