#!/bin/sh
# venv.sh run|dev: makes .venv hold exactly what a lock says, and nnix itself from src/.
#
#   run   requirements.txt       what nnix runs on
#   dev   requirements-dev.txt   and what its tests, lint and documentation need
#
# A stamp remembers the digest of all that went in (lock, pyproject.toml, Python, folder), so that a second run does nothing,
# and a changed lock, an upgraded Python or a moved clone does not go unnoticed. `dev` holds all of `run`.
#
# Bytecode of src/ is made each time, where it is older than its source: an editable install has none, and whoever may not write
# here, or keeps Python from writing any, would have every command compile all of nnix first (0.3 s).
set -eu

cd "$(dirname "$(readlink -f "$0")")/.."
case ${1:-} in
    run) lock=requirements.txt ;;
    dev) lock=requirements-dev.txt ;;
    *) echo "usage: packaging/venv.sh run|dev" >&2; exit 2 ;;
esac

python=${PYTHON:-python3}
if ! version=$("$python" -c 'import sys; print(*sys.version_info[:3], sep="."); sys.exit(sys.version_info < (3, 11))' 2>/dev/null); then
    echo "venv: nnix needs Python 3.11 or newer; \`$python\` is ${version:-not there}. Name another: make PYTHON=/path/to/python3.12" >&2
    exit 1
fi

digest() { { echo "$version $PWD"; cat "$1" pyproject.toml; } | sha256sum | cut -d ' ' -f 1; }
fresh() { [ -x .venv/bin/nnix ] && [ "$(cat ".venv/$1.stamp" 2>/dev/null)" = "$(digest "$2")" ]; }

bytecode() { .venv/bin/python -m compileall -q src >/dev/null || true; }

if fresh "$1" "$lock" || { [ "$1" = run ] && fresh dev requirements-dev.txt; }; then
    bytecode
    exit 0
fi

echo "venv: installing $lock into .venv" >&2
rm -f .venv/*.stamp
if ! .venv/bin/python -c "import sys; sys.exit('$version $PWD/.venv' != '.'.join(map(str, sys.version_info[:3])) + ' ' + sys.prefix)" 2>/dev/null; then
    "$python" -m venv --clear .venv
fi
pip() { .venv/bin/python -m pip --quiet --disable-pip-version-check --no-input install "$@" </dev/null; }
pip --require-hashes --only-binary :all: -r "$lock"
pip --no-deps --no-build-isolation --no-index --editable .
digest "$lock" >".venv/$1.stamp"
bytecode
