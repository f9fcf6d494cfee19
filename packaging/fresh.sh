#!/bin/sh
# fresh.sh SUITE [TARGET...]: what a machine with nothing but Debian SUITE (bookworm, trixie) makes of this clone's last commit.
#
#   packaging/fresh.sh trixie                              make up, make down, make test
#   packaging/fresh.sh trixie up down                      these targets only
#   FIRST=bird3 packaging/fresh.sh trixie up down test     with packages installed before, here the other BIRD
#
# debootstrap(8) makes the suite in a temporary folder; each target then runs inside, as root, with a namespace of its own for
# mounts and for processes. When the script ends, however it ends, its processes are killed and the folder is removed. The network
# is the machine's. nnix has a state folder of its own there, so that its devices cannot meet those of an exchange that runs here.
#
# Debian's mirror is the one that apt uses on this machine (or MIRROR), the package index the one that pip uses; proxies and
# certificates come along, other settings stay out.
set -eu

here=$(dirname "$(readlink -f "$0")")
say() { printf 'fresh: %s\n' "$*" >&2; }
usage() { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }

case ${1:-} in '' | -* | *[!a-z]*) usage ;; esac
suite=$1
shift
[ $# -gt 0 ] || set -- up down test
if [ "$(id -u)" -ne 0 ]; then
    say "needs root: makes a Debian in a folder and mounts /proc, /sys and /dev there"
    exit 1
fi
if ! command -v debootstrap >/dev/null; then
    say "needs debootstrap: apt-get install debootstrap"
    exit 1
fi
# shellcheck disable=SC2016 # apt's own
mirror=${MIRROR:-$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
    awk '$1 == "Debian" && $3 !~ /-/ { print $2; exit }')}
if [ -z "$mirror" ]; then
    say "apt knows no Debian mirror here (is apt-get update still to be run?); name one: MIRROR=http://…/debian $0 $suite"
    exit 1
fi
[ -z "$(git -C "$here" status --porcelain 2>/dev/null)" ] || say "what is not committed stays out"

box=$(mktemp -d "${TMPDIR:-/tmp}/nnix-$suite-XXXXXX")
inside=
# The mounts are the inner shell's; it is the first of its processes and takes them along.
# shellcheck disable=SC2329 # the trap invokes it
clean() {
    [ -z "$inside" ] || kill -9 "$inside" 2>/dev/null || true
    rm -rf --one-file-system "$box"
}
trap clean EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

chmod 755 "$box"  # the root of all users there
mkdir -p "$box/root/nnix" "$box/etc/apt/apt.conf.d" "$box/etc/ssl/certs"
git -C "$here/.." archive HEAD | tar -x -C "$box/root/nnix"
# What pip must know of the way to its index.
pip=$(python3 -m pip config list 2>/dev/null | sed -n \
    "s/^.*\.\(index-url\|proxy\|cert\|trusted-host\|default-timeout\)='\(.*\)'\$/\1 \2/p" |
    while read -r name value; do echo "PIP_$(echo "$name" | tr a-z- A-Z_)=$value"; done)
certificates=/etc/ssl/certs/ca-certificates.crt

# shellcheck disable=SC2016 # expanded inside
unshare --mount --pid --fork --kill-child sh -euc '
    box=$1 suite=$2 mirror=$3 first=$4 pip=$5 certificates=$6
    shift 6
    seconds() { cut -d . -f 1 /proc/uptime; }
    begin() { now=$(seconds); }
    end() { echo "fresh: $suite: $1: $2 after $(($(seconds) - now)) s"; }
    mount --make-rprivate /
    mount --bind "$box" "$box"  # ip(8) wants its / to be a mount
    begin
    debootstrap --variant=minbase --include=ca-certificates,make "$suite" "$box" "$mirror" >"$box/debootstrap.log" 2>&1 </dev/null || {
        tail -n 20 "$box/debootstrap.log"; exit 1; }
    end debootstrap ready
    apt-config dump | grep -E "^Acquire::(https?|Check-|Retries)" >"$box/etc/apt/apt.conf.d/90machine" || true
    for each in /etc/resolv.conf /etc/hosts; do
        [ ! -e "$each" ] || cp -RL "$each" "$box$(dirname "$each")/"
    done
    [ ! -e "$certificates" ] || cp -L "$certificates" "$box$certificates"
    mount -t proc proc "$box/proc"
    mount -t sysfs sysfs "$box/sys"
    mount --rbind /dev "$box/dev"
    mount -t tmpfs tmpfs "$box/run"
    run() {
        # shellcheck disable=SC2086 # settings, one a word
        env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM=dumb \
            http_proxy="${http_proxy:-}" https_proxy="${https_proxy:-}" no_proxy="${no_proxy:-}" $pip \
            NNIX_STATE="/root/state$box" chroot "$box" sh -c "cd /root/nnix && exec \"\$@\"" sh "$@" </dev/null
    }
    if [ -n "$first" ]; then
        begin
        run env DEBIAN_FRONTEND=noninteractive sh -c "apt-get -q update && apt-get -q -y install --no-install-recommends $first"
        end "$first" installed
    fi
    failed=
    for target; do
        begin
        if run make "$target"; then end "make $target" passed; else end "make $target" FAILED; failed="$failed $target"; fi
    done
    run sh -c "dpkg-query -W -f \"\\\${db:Status-Status} \\\${Package} \\\${Version}\\n\" \"bird?\" frr gobgpd openbgpd bgpq4 iproute2 nftables openssh-server postgresql python3 |
        sed -n \"s/^installed /fresh: $suite: /p\"" || true
    [ -z "$failed" ] || { echo "fresh: $suite: failed:$failed"; exit 1; }
' sh "$box" "$suite" "$mirror" "${FIRST:-}" "$pip" "$certificates" "$@" &
inside=$!
status=0
wait "$inside" || status=$?
inside=
exit "$status"
