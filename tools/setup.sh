# Set-up of the lab, sourced by ./lab: what it needs from the distribution, then a virtual environment.
# It installs only what is missing, and may be interrupted at any point and called again.
# Needs from the caller: ROOT (the checkout), VENV (where the environment lives), die().

# The distribution's Python, since Mininet is a Debian package and installs for that one only.
SYSTEM_PYTHON=/usr/bin/python3
TORCH='torch==2.13.0'
RYU='ryu==4.34'

APT_PACKAGES=(
  python3-venv        # the virtual environment, with pip
  python3-dev gcc     # two dependencies of the controller come as C source only
  mininet             # the network emulator, for the system's Python
  openvswitch-switch  # the base stations
  iproute2            # ip and tc: links and their queues
  iputils-ping        # what a device measures delay with
  ethtool             # turns off the offloads that would falsify queue lengths
  tcpdump             # packet captures
  tshark              # a second opinion on captures, for the checks of `lab pcap`
  iperf3              # probes of what a link really carries
  ffmpeg              # transcodes the clips of the scenario livecast
  procps              # ps and pkill, which Mininet calls
)

# What only `./lab test` installs besides.
CHECK_PACKAGES=(
  debootstrap         # a bare system, in which the checks prove this very set-up
  zsh fish            # shells whose completion the checks try
)

# Prints the packages that are not installed. One dpkg-query for all of them takes about 20 ms.
missing_apt_packages() {
  local package installed
  # Its status is 1 where it does not know one of them, which is an answer like any other.
  installed=$({ dpkg-query -W -f='${db:Status-Status}:${Package}\n' "${APT_PACKAGES[@]}" 2>/dev/null || true; } |
    sed -n 's/^installed://p' | tr '\n' ' ')
  for package in "${APT_PACKAGES[@]}"; do
    [[ " $installed" == *" $package "* ]] || echo "$package"
  done
  # `sudo python -m emulation.run` needs a `python` on sudo's PATH; Debian ships only `python3`.
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin type -P python >/dev/null ||
    echo python-is-python3
}

# On other distributions nothing is installed system-wide; this only says what is not there.
missing_programs() {
  local program
  for program in mn ovs-vsctl ovs-vswitchd ip tc ping ethtool tcpdump iperf3 ffmpeg ps gcc; do
    PATH=$PATH:/usr/sbin:/sbin type -P "$program" >/dev/null || echo "$program"
  done
  [[ -x $SYSTEM_PYTHON ]] || echo "$SYSTEM_PYTHON"
}

missing_from_system() {
  if [[ -e /etc/debian_version ]] && type -P dpkg-query >/dev/null; then
    missing_apt_packages
  else
    missing_programs
  fi
}

# What a finished set-up writes last. It changes with the pins, this file and the Python version.
wanted_stamp() {
  { readlink -f "$SYSTEM_PYTHON"; cat "$ROOT/requirements.lock" "$ROOT/tools/setup.sh"; } | sha256sum
}

venv_is_current() {
  [[ -x $VENV/bin/python && -r $VENV/lab-stamp && $(<"$VENV/lab-stamp") == "$(wanted_stamp)" ]]
}

# step TEXT COMMAND...: one line with the time it took; the command's own words go to the log.
step() {
  local text=$1 begin=$SECONDS status=0
  shift
  : "${SETUP_LOG:=$(mktemp "${TMPDIR:-/tmp}/lab-setup.XXXXXX.log")}"
  printf 'setup: %s ... ' "$text" >&2
  printf '\n== %s: %s\n' "$text" "$*" >>"$SETUP_LOG"
  "$@" >>"$SETUP_LOG" 2>&1 </dev/null || status=$?
  if ((status)); then
    printf 'failed (status %d)\n' "$status" >&2
    tail -n 15 "$SETUP_LOG" | sed 's/^/  | /' >&2
    die "set-up stopped at '$text'; everything it said is in $SETUP_LOG, and ./lab setup goes on from here"
  fi
  printf '%d s\n' "$((SECONDS - begin))" >&2
}

apt_get() {
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@"
}

# The package lists are fetched only where those at hand do not know what is asked for, or are stale.
apt_install() {
  dpkg --configure -a # a killed installation is finished first
  apt_get install -y --no-install-recommends "$@" && return
  apt_get update && apt_get install -y --no-install-recommends "$@"
}

install_system_packages() {
  local missing
  mapfile -t missing < <(missing_from_system)
  ((${#missing[@]})) || return 0
  if [[ ! -e /etc/debian_version ]] || ! type -P apt-get >/dev/null; then
    die "set-up installs packages on Debian and Ubuntu only; please install what provides: ${missing[*]}"
  fi
  ((EUID == 0)) || die "missing: ${missing[*]}; run: sudo ./lab setup"
  step "system packages (${missing[*]})" apt_install "${missing[@]}"
}

# pip tidies up when it fails by itself; the mark that stays tells of one that was killed.
pip() {
  local status=0
  touch "$VENV/lab-installing"
  "$VENV/bin/python" -m pip --quiet --no-input --disable-pip-version-check "$@" || status=$?
  rm -f "$VENV/lab-installing"
  return "$status"
}

# Usable, made for this Python, and with no installation killed half-way in it.
venv_is_sound() {
  [[ ! -e $VENV/lab-installing ]] || return 1
  grep -qs '^include-system-site-packages = true' "$VENV/pyvenv.cfg" || return 1
  [[ $(readlink -f "$VENV/bin/python") == "$(readlink -f "$SYSTEM_PYTHON")" ]] || return 1
  "$VENV/bin/python" -c 'import pip' 2>/dev/null
}

make_venv() {
  rm -rf "$VENV" && mkdir -p "$VENV" && touch "$VENV/lab-installing" &&
    "$SYSTEM_PYTHON" -m venv --system-site-packages "$VENV" && rm "$VENV/lab-installing"
}

# Ryu 4.34 of 2020 is built by setuptools < 67 only (and by 66.1 at least on Python 3.12), while
# torch wants 77 or later beside it; the lock installs that afterwards.
install_ryu() {
  pip install 'setuptools>=66.1,<67' wheel pbr &&
    pip install --no-build-isolation --no-deps "$RYU"
}

unmet() { "$VENV/bin/python" -I "$ROOT/tools/unmet_pins.py" "${@:-$ROOT/requirements.lock}"; }

install_python_packages() {
  local pins
  # torch alone and exactly so: with other wishes beside it pip may choose a build with CUDA, of gigabytes.
  pins=$(unmet "$TORCH")
  [[ -z $pins ]] || step "$TORCH" pip install "$TORCH"
  pins=$(unmet "$RYU")
  [[ -z $pins ]] || step "$RYU" install_ryu
  pins=$(unmet)
  [[ -z $pins ]] || step "$(wc -l <<<"$pins") pinned Python packages" pip install -r "$ROOT/requirements.lock"
  pins=$(unmet)
  [[ -z $pins ]] || die "pip finished, yet these pins are not met:" $pins
}

# Under sudo the checkout's owner must be able to read and to delete what was made in it.
hand_over() {
  [[ -n ${SUDO_UID:-} && $VENV == "$ROOT"/* ]] || return 0
  chown -R --from=0 "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$VENV"
}

# Whatever a plain user asks for works without the system's packages, or says itself what it lacks;
# only root can add them.
is_set_up() {
  venv_is_current && { ((EUID != 0)) || [[ -z $(missing_from_system) ]]; }
}

# Two calls at once: the second waits, then finds everything done. The lock is on the folder that
# holds the environment, which leaves no lock file behind.
set_up() {
  umask 022
  trap 'exit 130' INT TERM
  [[ -d ${VENV%/*} ]] || mkdir -p "${VENV%/*}" || die "cannot make ${VENV%/*}; run: sudo ./lab setup"
  exec 9<"${VENV%/*}"
  flock --nonblock 9 || { echo 'setup: waiting for another set-up of this checkout' >&2; flock 9; }
  install_system_packages
  venv_is_current || set_up_venv
  [[ -z ${SETUP_LOG:-} ]] || rm -f "$SETUP_LOG"
  exec 9<&-
  trap - INT TERM
}

set_up_venv() {
  if [[ -d $VENV && ! -w $VENV ]] || [[ ! -d $VENV && ! -w ${VENV%/*} ]]; then
    die "$VENV is missing or out of date, and not yours to change; run: sudo ./lab setup"
  fi
  # LAB_VENV may name anything: a folder that is no environment is not ours to replace.
  if [[ -e $VENV && ! -e $VENV/pyvenv.cfg && ! -e $VENV/lab-installing && -n $(ls -A "$VENV") ]]; then
    die "$VENV is in the way: it is not a virtual environment"
  fi
  venv_is_sound || step "Python environment $VENV" make_venv
  install_python_packages
  # Written last and in one piece, so that whatever was interrupted is done again.
  wanted_stamp >"$VENV/lab-stamp.new"
  hand_over
  mv "$VENV/lab-stamp.new" "$VENV/lab-stamp"
}
