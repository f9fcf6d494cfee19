#!/bin/sh
# Makes requirements.txt and requirements-dev.txt from what stands in requirements*.in and build.in: exact versions, and the
# hashes of all files that the index holds for each, so that one lock serves Python 3.11 to 3.13 on every architecture.
#
# pip's settings of this machine (other indexes, folders of wheels, constraints) stay out: a lock must come out the same
# everywhere. pip-tools lives in an environment of its own, which is thrown away. Extra words go to pip-compile, e.g.
# `packaging/lock.sh --upgrade`.
#
# The lock is made with the oldest Python, because newer ones need the same packages or fewer.
set -eu

cd "$(dirname "$(readlink -f "$0")")/.."
python=${PYTHON:-python3}
if [ "$("$python" -c 'import sys; print(*sys.version_info[:2], sep=".")')" != 3.11 ]; then
    echo "lock: make the lock with Python 3.11, the oldest that nnix runs on: make lock PYTHON=/path/to/python3.11" >&2
    exit 1
fi
for name in $(env | sed -n 's/^\(PIP_[A-Z_]*\)=.*/\1/p'); do
    case $name in PIP_CERT | PIP_PROXY | PIP_DEFAULT_TIMEOUT) ;; *) unset "$name" ;; esac
done
export PIP_CONFIG_FILE=/dev/null
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"$python" -m venv "$tools"
"$tools/bin/python" -m pip --quiet --disable-pip-version-check install 'pip-tools>=7.5'

compile() {
    out=$1
    shift
    CUSTOM_COMPILE_COMMAND='make lock' "$tools/bin/pip-compile" --quiet --generate-hashes --allow-unsafe --strip-extras \
        --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --resolver backtracking --output-file "$out" "$@"
}
compile requirements.txt requirements.in packaging/build.in "$@"
compile requirements-dev.txt --constraint requirements.txt requirements-dev.in packaging/build.in "$@"
if grep -nE '^-|://|/' requirements.txt requirements-dev.txt | grep -vE '#|--hash'; then
    echo "lock: the lines above name an index, a host or a folder" >&2
    exit 1
fi
