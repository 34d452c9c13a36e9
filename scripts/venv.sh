#!/bin/bash
# Make .venv from the distribution's Python, with the versions of constraints.txt, and this project in it (editable).
# Nothing is done when the stamp says that the same has been done already.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
python=/usr/bin/python3 # the one that sees the distribution's mininet, whatever else comes first on PATH
cd "$root"

if ! "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    echo "setup: $python must be Python 3.11 (Debian 12): Ryu 4.34 and Mininet 2.3 do not run on later ones" >&2
    exit 1
fi

# The place is part of the stamp because a venv cannot be moved; the packages, because an editable install maps them.
wanted=$({
    echo "$root"
    "$python" --version
    cat setup.cfg pyproject.toml constraints.txt scripts/venv.sh
    ls -d controller topologies 2>/dev/null || true
} | sha256sum)
stamp=$venv/.saga-setup
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && "$venv/bin/ryu-manager" --version >/dev/null 2>&1; then
    exit 0
fi

echo "setup: preparing .venv"
rm -f "$stamp"
if ! [ -d "$venv" ] || ! "$venv/bin/python" -m pip --version 2>/dev/null | grep -qF "$venv/"; then
    "$python" -m venv --clear --system-site-packages "$venv"
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
pip() { "$venv/bin/python" -m pip --quiet "$@"; }
# Ryu's setup.py needs setuptools <68 and pbr.  pip's isolated build would fetch the newest, and how to constrain
# that differs between versions of pip; building without isolation works with all of them.
pip install --constraint constraints.txt setuptools wheel pbr
pip install --constraint constraints.txt --no-build-isolation ryu
# Ours comes after Ryu's, so that our ryu-manager replaces its.
pip install --constraint constraints.txt --no-build-isolation --editable '.[test,lint]'
if ! grep -q controller.launcher "$venv/bin/ryu-manager"; then
    pip install --no-build-isolation --no-deps --force-reinstall --editable .
fi
"$venv/bin/ryu-manager" --version >/dev/null
echo "$wanted" >"$stamp"
