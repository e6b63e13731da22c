#!/bin/sh
# Installs the Fairlead agent on this machine and enrols it with {{PUBLIC_URL}}.
#
#   curl -fsSL {{PUBLIC_URL}}/install/<token> | sh
#
# What it does, in this order:
#   1. checks that it is root, and that Python 3.11 or newer and a Docker Engine are there;
#   2. makes a Python environment of its own and installs the agent into it (every package is pinned by its hash);
#   3. writes a policy for this machine, which is yours to change, unless there is one;
#   4. enrols: the keys are made here and never leave this machine;
#   5. starts the agent, under systemd where that runs, else under supervisord, and waits until it is connected.
# Run again, it updates what has changed and enrols anew. Nothing outside the two directories below is touched, but for
# one systemd unit. To take it all away: <directory>/bin/agentctl uninstall
#
# Settings, given after the pipe (`curl … | FAIRLEAD_AGENT_DIR=/srv/agent sh`):
#   FAIRLEAD_AGENT_DIR          where it goes. Default: programs in /opt/fairlead-agent, data in /var/lib/fairlead-agent;
#                               a directory given here holds both.
#   FAIRLEAD_AGENT_PYTHON       the Python to use
#   FAIRLEAD_AGENT_DOCKER_HOST  the Docker Engine; default unix:///var/run/docker.sock
#   FAIRLEAD_AGENT_SUPERVISOR   systemd or supervisord; default: systemd where it runs
set -eu

PUBLIC_URL="{{PUBLIC_URL}}"
TOKEN="{{TOKEN}}"
CONNECT_SECONDS=60

say() { echo "fairlead: $*"; }

fail() {
    echo "fairlead: $*" >&2
    exit 1
}

choose_directories() {
    if [ -n "${FAIRLEAD_AGENT_DIR:-}" ]; then
        AGENT_HOME="$FAIRLEAD_AGENT_DIR"
        DATA="$FAIRLEAD_AGENT_DIR/data"
    else
        AGENT_HOME=/opt/fairlead-agent
        DATA=/var/lib/fairlead-agent
    fi
    case "$AGENT_HOME" in
    /*[!A-Za-z0-9/._-]*) fail "the directory must be written with letters, digits, dots, dashes and underscores only." ;;
    /?*) ;;
    *) fail "FAIRLEAD_AGENT_DIR must be an absolute path." ;;
    esac
    VENV="$AGENT_HOME/venv"
    DOCKER="${FAIRLEAD_AGENT_DOCKER_HOST:-unix:///var/run/docker.sock}"
    # Not for the programs below: they would take it for the data directory.
    unset FAIRLEAD_AGENT_DIR
}

find_python() {
    for candidate in "${FAIRLEAD_AGENT_PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            PYTHON="$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer is needed. On Debian or Ubuntu: apt-get install python3 python3-venv"
}

check_machine() {
    [ "$(id -u)" = 0 ] || fail "this must run as root: curl -fsSL $PUBLIC_URL/install/... | sudo sh"
    command -v curl >/dev/null 2>&1 || fail "curl is needed. On Debian or Ubuntu: apt-get install curl"
    command -v sha256sum >/dev/null 2>&1 || fail "sha256sum is needed. On Debian or Ubuntu: apt-get install coreutils"
    find_python
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "Python's venv is needed. On Debian or Ubuntu: apt-get install python3-venv"
    case "$DOCKER" in
    unix://*)
        [ -S "${DOCKER#unix://}" ] ||
            fail "there is no Docker Engine at ${DOCKER#unix://}. Install Docker, or set FAIRLEAD_AGENT_DOCKER_HOST." ;;
    *) ;;
    esac
    SUPERVISOR="${FAIRLEAD_AGENT_SUPERVISOR:-}"
    if [ -z "$SUPERVISOR" ]; then
        SUPERVISOR=supervisord
        if [ -d /run/systemd/system ]; then SUPERVISOR=systemd; fi
    fi
    case "$SUPERVISOR" in
    systemd | supervisord) ;;
    *) fail "FAIRLEAD_AGENT_SUPERVISOR must be systemd or supervisord." ;;
    esac
}

make_directories() {
    mkdir -p "$AGENT_HOME/bin" "$AGENT_HOME/log" "$AGENT_HOME/run" "$DATA"
    chmod 700 "$DATA"
    DOWNLOADS=$(mktemp -d)
    trap 'rm -rf "$DOWNLOADS"' EXIT
}

download() {
    say "downloading the agent from $PUBLIC_URL"
    (cd "$DOWNLOADS" && curl -fsSL --retry 3 -O -J "$PUBLIC_URL/install/agent/fairlead.whl") ||
        fail "the agent cannot be downloaded from $PUBLIC_URL."
    curl -fsSL --retry 3 -o "$DOWNLOADS/requirements.lock" "$PUBLIC_URL/install/agent/requirements.lock" ||
        fail "the agent's list of packages cannot be downloaded from $PUBLIC_URL."
    WHEEL=$(ls "$DOWNLOADS"/*.whl)
    PACKAGES_SUM=$(sha256sum <"$DOWNLOADS/requirements.lock" | cut -d' ' -f1)
    WHEEL_SUM=$(sha256sum <"$WHEEL" | cut -d' ' -f1)
}

has() { # which, sum: whether that is what is installed
    "$VENV/bin/python" -c 'import sys' 2>/dev/null && [ "$(cat "$AGENT_HOME/installed/$1" 2>/dev/null)" = "$2" ]
}

install_programs() {
    mkdir -p "$AGENT_HOME/installed"
    if has packages "$PACKAGES_SUM" && has wheel "$WHEEL_SUM"; then
        say "the agent is installed already"
        return
    fi
    if ! "$VENV/bin/python" -c 'import sys' 2>/dev/null; then
        say "making a Python environment in $VENV"
        rm -rf "$VENV"
        "$PYTHON" -m venv "$VENV"
    fi
    rm -f "$AGENT_HOME/installed/wheel"
    if ! has packages "$PACKAGES_SUM"; then
        say "installing its packages"
        "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
            --require-hashes -r "$DOWNLOADS/requirements.lock" || fail "the packages could not be installed."
        echo "$PACKAGES_SUM" >"$AGENT_HOME/installed/packages"
    fi
    say "installing the agent"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --no-deps --no-index --force-reinstall "$WHEEL" || fail "the agent could not be installed."
    echo "$WHEEL_SUM" >"$AGENT_HOME/installed/wheel"
}

render() { # from, to
    sed -e "s|@HOME@|$AGENT_HOME|g" -e "s|@DATA@|$DATA|g" -e "s|@DOCKER@|$DOCKER|g" -e "s|@SUPERVISOR@|$SUPERVISOR|g" "$1" >"$2"
}

write_files() {
    files=$("$VENV/bin/python" -c 'import pathlib, agent; print(pathlib.Path(agent.__file__).parent / "files")')
    render "$files/agentctl" "$AGENT_HOME/bin/agentctl.new"
    chmod 755 "$AGENT_HOME/bin/agentctl.new"
    mv "$AGENT_HOME/bin/agentctl.new" "$AGENT_HOME/bin/agentctl"
    if [ ! -e "$DATA/policy.toml" ]; then
        cp "$files/policy.toml" "$DATA/policy.toml"
        chmod 600 "$DATA/policy.toml"
        say "what may run here is said in $DATA/policy.toml; it is yours to change"
    fi
    if [ "$SUPERVISOR" = supervisord ]; then
        render "$files/supervisord.conf" "$AGENT_HOME/supervisord.conf"
    else
        render "$files/fairlead-agent.service" /etc/systemd/system/fairlead-agent.service
        systemctl daemon-reload
    fi
}

enroll() {
    say "enrolling with $PUBLIC_URL"
    FAIRLEAD_AGENT_DIR="$DATA" FAIRLEAD_AGENT_DOCKER_HOST="$DOCKER" FAIRLEAD_AGENT_TOKEN="$TOKEN" \
        "$VENV/bin/python" -m agent.main enroll "$PUBLIC_URL" >/dev/null || fail "this machine could not be enrolled."
}

start() {
    "$AGENT_HOME/bin/agentctl" restart
    say "waiting until the agent is connected"
    left=$((CONNECT_SECONDS * 2))
    until "$AGENT_HOME/bin/agentctl" status >/dev/null 2>&1; do
        left=$((left - 1))
        if [ "$left" -le 0 ]; then
            "$AGENT_HOME/bin/agentctl" logs 30 >&2 || true
            fail "the agent did not connect within $CONNECT_SECONDS s; its log is above."
        fi
        sleep 0.5
    done
    "$AGENT_HOME/bin/agentctl" status
}

# Everything stands in functions: a download that breaks off runs nothing.
main() {
    choose_directories
    check_machine
    # `python -m` looks for modules where it stands: a directory called agent there would be run as root.
    cd /
    make_directories
    download
    install_programs
    write_files
    enroll
    start
    say "done. Control it with $AGENT_HOME/bin/agentctl, take it away with $AGENT_HOME/bin/agentctl uninstall"
    if [ "$SUPERVISOR" = supervisord ]; then
        say "this machine has no systemd: after a reboot, $AGENT_HOME/bin/agentctl start"
    fi
}

main "$@"
