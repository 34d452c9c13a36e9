#!/bin/bash
# Everything a bare Debian 12 lacks: packages, .venv, a running Open vSwitch.  Run it as often as you like.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export LC_ALL=C.UTF-8
"$here/system-packages.sh"
"$here/venv.sh"
"$here/open-vswitch.sh"
