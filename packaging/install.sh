#!/bin/sh
# Installs the Debian packages of debian-packages.txt. Running it again when all are there takes a few milliseconds.
#
# nnix starts every daemon by itself, each in its own network namespace. A package that is installed would also start one for
# the whole machine, and again at every boot. So while apt works a policy-rc.d says no (invoke-rc.d(8), status 101), and what
# was newly installed is disabled afterwards. A policy-rc.d that was there before us comes back; a daemon that was installed
# before us stays as it was.
set -eu

here=$(dirname "$(readlink -f "$0")")
policy=/usr/sbin/policy-rc.d
aside=$policy.before-nnix
mark='# for as long as nnix installs packages'

say() { printf 'install: %s\n' "$*" >&2; }

if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
    say "this machine has no apt and dpkg. nnix installs itself on Debian 12 and 13; elsewhere, install what $here/debian-packages.txt names and go on with packaging/venv.sh."
    exit 1
fi

wanted=$(sed 's/#.*//; s/ //g' "$here/debian-packages.txt")
# shellcheck disable=SC2046 # a list of words
present=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $(printf '%s' "$wanted" | tr '|' ' ') 2>/dev/null | sed -n 's/^installed //p') || true
missing=
for package in $wanted; do
    printf '%s\n' "$present" | grep -qxE "$package" || missing="$missing ${package%%|*}"
done
missing=${missing# }
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    say "these packages are missing, and only root may install them: $missing. Run \`sudo $here/install.sh\` once."
    exit 1
fi

restore() {
    if [ -e "$aside" ]; then
        mv -f "$aside" "$policy"
    elif grep -qsF "$mark" "$policy"; then
        rm -f "$policy"
    fi
}
trap restore EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
# One of ours that a kill -9 left behind is not somebody else's to be kept.
if { [ -e "$policy" ] || [ -L "$policy" ]; } && ! grep -qsF "$mark" "$policy"; then
    mv "$policy" "$aside"
fi
printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
chmod 755 "$policy"

say "installing $missing"
export DEBIAN_FRONTEND=noninteractive
apt() { apt-get -q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" </dev/null; }
# shellcheck disable=SC2086 # a list of words
if ! { apt update && apt install --no-install-recommends $missing; } >&2; then
    say "apt could not install: $missing. Its own words are above; \`make up\` goes on from here once it can."
    exit 1
fi

if [ -d /run/systemd/system ]; then
    for package in $missing; do
        case $package in
            bird2) units='bird bird6' ;;
            frr) units=frr ;;
            gobgpd) units=gobgpd ;;
            knot) units=knot ;;
            nsd) units=nsd ;;
            openbgpd) units='openbgpd bgpd' ;;
            postgresql) units=postgresql ;;
            rpki-client) units='rpki-client.timer rpki-client' ;;
            fort-validator) units=fort ;;
            stayrtr) units=stayrtr ;;
            unbound) units='unbound unbound-resolvconf' ;;
            *) units= ;;
        esac
        for unit in $units; do
            systemctl disable --quiet "$unit" 2>/dev/null || true
        done
    done
fi
