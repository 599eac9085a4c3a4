#!/usr/bin/env bash
# Sets the lab up in a guest of its own, a virtual machine or a container.
# Usage, as root: guest.sh CHECKOUT
#
# ETC is where the machine's configuration lies; only the checks name another place.
set -euo pipefail
checkout=$1 etc=${ETC:-/etc}

# The environment is kept off the checkout: a folder shared with the host may hold no symbolic links
# on some hosts, and the host may have an environment of its own there. The file survives sudo.
mkdir -p "$etc/default" "$etc/profile.d"
echo LAB_VENV=/opt/crowd-edge-lab/venv >"$etc/default/crowd-edge-lab"

# Whoever logs in stands in the checkout, so that `sudo python -m emulation.run case3` works as it
# is typed, also through `vagrant ssh -c`, which asks for a login shell. sudo keeps the folder.
cat >"$etc/profile.d/crowd-edge-lab.sh" <<SNIPPET
if [ "\$PWD" = "\$HOME" ] && [ -d '$checkout' ]; then cd '$checkout'; fi
SNIPPET

cd "$checkout"
exec bash ./lab setup
