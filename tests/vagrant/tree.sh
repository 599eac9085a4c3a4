# A bare system in a folder and the lab's set-up in it, sourced by prove.
# Needs from the caller: PROJECT (the checkout), WORK (a folder of the proof's own).
#
# What is special to this machine - where packages come from, certificates, pip's settings - is carried
# into the tree here, so that the set-up that is proven needs none of it.

TREE=$WORK/root
SUITE=${SUITE:-$(. /etc/os-release && echo "$VERSION_CODENAME")}

# As apt has them: the machine's own package sources, of its distributor alone. SUITE and SOURCE name
# another distribution's: SUITE=noble SOURCE='ADDRESS main universe'.
package_sources() {
  [[ -z ${SOURCE:-} ]] || { echo "deb ${SOURCE%% *} $SUITE ${SOURCE#* }"; return; }
  local id
  id=$(. /etc/os-release && echo "${ID^}")
  apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' "Created-By: Packages" "Origin: $id"
}

mirror() { package_sources | awk -v suite="$SUITE" '$3 == suite { print $2; exit }'; }

# Says by its status whether a bare system can be had here, and why not.
reach() {
  type -P debootstrap >/dev/null || { echo 'prove: debootstrap is not installed' >&2; return 1; }
  [[ -n $(mirror) ]] || { echo 'prove: apt knows no package source of this distribution' >&2; return 1; }
  mkdir -p "$WORK"
  # debootstrap speaks to the mirror without apt, which asks first, and does not wait for ever.
  /usr/lib/apt/apt-helper -o Acquire::http::Timeout=20 -o Acquire::Retries=1 \
    download-file "$(mirror)dists/$SUITE/InRelease" "$WORK/InRelease" >/dev/null 2>&1 ||
    { echo "prove: the package source of this machine has no $SUITE" >&2; return 1; }
}

# A command in the tree, as root and with nothing of the caller's environment, since a guest has none
# of it. Mounts and processes are in namespaces of the command's own, so that nothing of them is left
# however it ends. Settings of pip are the exception: see carry_pip_settings.
in_tree() {
  local -a settings=()
  mapfile -t settings < <(env | grep '^PIP_' || true)
  unshare --mount --pid --fork --kill-child bash -euc '
    tree=$1 work=$2; shift 2
    mount --bind "$tree" "$tree" # "/" in there is a mount, as on a machine
    mount -t proc proc "$tree/proc"; mount -t sysfs sysfs "$tree/sys"; mount --rbind /dev "$tree/dev"
    mount -t tmpfs tmpfs "$tree/run"
    while read -r folder; do mkdir -p "$tree$folder"; mount --bind -o ro "$folder" "$tree$folder"
    done <"$work/shown-folders"
    status=0; chroot "$tree" "$@" || status=$?; exit $status # not exec: this shell reaps daemons
  ' in_tree "$TREE" "$WORK" \
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
    DEBIAN_FRONTEND=noninteractive "${settings[@]}" "$@"
}

# As `vagrant ssh -c` types it: a login shell of the user vagrant, who stands in the checkout.
as_vagrant() { in_tree su - vagrant -c "$1"; }

# A minimal system, and what a box or a container's base has beyond it: certificates, sudo, the user.
root() {
  reach
  rm -rf "$TREE"
  mkdir -p "$TREE/var/cache/apt/archives" "$TREE/etc/apt/apt.conf.d" "$TREE/etc/dpkg/dpkg.cfg.d"
  : >"$WORK/shown-folders"
  # What this machine has fetched before need not be fetched again; links, so that nothing is shared.
  cp -l /var/cache/apt/archives/*.deb "$TREE/var/cache/apt/archives/" 2>/dev/null || true
  echo force-unsafe-io >"$TREE/etc/dpkg/dpkg.cfg.d/proof" # no fsync in what is thrown away
  local script=/usr/share/debootstrap/scripts/$SUITE
  [[ -e $script ]] || script=/usr/share/debootstrap/scripts/gutsy # of all of Ubuntu's releases
  unshare --mount debootstrap --variant=minbase --include=ca-certificates,sudo \
    "$SUITE" "$TREE" "$(mirror)" "$script" >"$WORK/debootstrap.log" || { tail "$WORK/debootstrap.log" >&2; return 1; }
  package_sources >"$TREE/etc/apt/sources.list"
  apt-config dump | grep -E '^Acquire::(https?::|Retries|Check-)' >"$TREE/etc/apt/apt.conf.d/90proof" || true
  printf '#!/bin/sh\nexit 101\n' >"$TREE/usr/sbin/policy-rc.d" # no service starts in a chroot
  chmod +x "$TREE/usr/sbin/policy-rc.d"
  cp /etc/resolv.conf /etc/hosts "$TREE/etc/"
  cp -r /usr/local/share/ca-certificates "$TREE/usr/local/share/"
  in_tree update-ca-certificates >/dev/null
  in_tree useradd --create-home --shell /bin/bash vagrant
  echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >"$TREE/etc/sudoers.d/vagrant"
  carry_pip_settings
}

# pip's files of this machine, and the files and folders that its settings name.
carry_pip_settings() {
  local pip=("$("$PROJECT/lab" venv-path)/bin/python" -m pip) name
  "${pip[@]}" config debug | sed -n 's/^ *\(\/.*\), exists: True$/\1/p' |
    while read -r name; do cp --parents "$name" "$TREE"; done
  "${pip[@]}" config list | grep -oE "(file://)?/[^ '\\]+" | while read -r name; do
    # An index leads to files that lie beside it.
    [[ $name != file://* ]] || name=$(dirname "${name#file://}")
    if [[ -d $name ]]; then echo "$name"; elif [[ -e $name ]]; then cp --parents "$name" "$TREE"; fi
  done | sort -u >"$WORK/shown-folders"
}

copy_checkout() {
  tar -C "$PROJECT" --exclude=./.git --exclude=./.venv --exclude=./results --exclude=__pycache__ -c . | tar -C "$1" -x
}

# The set-up of a guest, twice: the second time there is nothing to do.
provision() {
  rm -rf "$TREE/vagrant" && mkdir "$TREE/vagrant"
  copy_checkout "$TREE/vagrant"
  in_tree chown -R vagrant: /vagrant
  in_tree bash /vagrant/tools/guest.sh /vagrant
  local again
  again=$(in_tree bash /vagrant/tools/guest.sh /vagrant 2>&1)
  [[ $again == 'The lab is set up ('*').' ]] || { echo "prove: set up again, it said: $again" >&2; return 1; }
}

# What a user types, and that nothing is missing which something will ask for sooner or later.
check() {
  as_vagrant './lab --version'
  as_vagrant './lab --help' | grep contest
  in_tree bash -euc 'cd /vagrant; source tools/setup.sh; missing_programs; missing_apt_packages' |
    { ! grep . || { echo 'prove: these programs or packages are not there' >&2; return 1; }; }
  in_tree tshark --version | head -n 1
  as_vagrant './lab python tests/vagrant/import_everything.py'
  as_vagrant 'sudo ./lab check'
  as_vagrant './lab contest mini --policies self-biased,own-edge --episodes 1'
  as_vagrant 'sudo python -m emulation.run mini --slots 5'
  ls "$TREE"/vagrant/results/mini/*/seed1/*/manifest.json
}
