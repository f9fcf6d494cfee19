"""Which object is at which name: a repository as a mapping of paths to SHA-256 digests; and the one hash that stands for all of it.

The root is that of a Merkle tree as in Certificate Transparency (RFC 6962, 2.1), whose leaves are the lines of the repository's index,
`SHA-256 rsync://…`, sorted. So who knows a root can be shown that an object was in the tree with a handful of hashes, and without the tree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from nnix.planes.trust.mirror.reasons import Reason, Rejected
from nnix.planes.trust.mirror.rrdp import Change, Publish, Withdraw

Tree = Mapping[str, str]


def unpacked(told: Iterable[Change], keep: Callable[[bytes], str]) -> dict[str, str]:
    """The tree of a snapshot; `keep` stores an object and gives its digest. Raises Rejected."""
    made: dict[str, str] = {}
    for each in told:
        if isinstance(each, Withdraw) or each.path in made:
            raise Rejected(Reason.TWICE, f"rsync://{each.path} is in the snapshot twice")
        made[each.path] = keep(each.content)
    return layable(made)


def applied(before: Tree, told: Iterable[Change], keep: Callable[[bytes], str]) -> dict[str, str]:
    """The tree after a delta (RFC 8182, 3.4.2). Raises Rejected; `before` stays as it is in any case."""
    made = dict(before)
    for each in told:
        held = made.get(each.path)
        expected = each.replaces if isinstance(each, Publish) else each.was
        if expected is None and held is not None:
            raise Rejected(Reason.THERE, f"rsync://{each.path} is published as a new object, but there is one")
        if expected is not None and held is None:
            raise Rejected(
                Reason.NOT_THERE,
                f"rsync://{each.path} is to be {'replaced' if isinstance(each, Publish) else 'withdrawn'}, but is not there",
            )
        if expected != held:
            raise Rejected(Reason.OBJECT_HASH, f"rsync://{each.path} is {str(held)[:12]}… here, and was {str(expected)[:12]}… there")
        if isinstance(each, Publish):
            made[each.path] = keep(each.content)
        else:
            del made[each.path]
    return layable(made)


def layable(tree: dict[str, str]) -> dict[str, str]:
    """`tree`, if it can be laid out as files. Raises Rejected when one of its objects would have to be a folder, too."""
    folders: set[str] = set()
    for path in tree:
        above = path.rpartition("/")[0]
        while above and above not in folders:
            folders.add(above)
            above = above.rpartition("/")[0]
    if clash := next(iter(folders & tree.keys()), None):
        raise Rejected(Reason.CLASH, f"rsync://{clash} is an object, and other objects are below it")
    return tree


def difference(before: Tree, after: Tree, get: Callable[[str], bytes]) -> Iterator[Change]:
    """The delta from `before` to `after`; `get` gives an object by its digest."""
    for path in sorted(before.keys() - after.keys()):
        yield Withdraw(path, before[path])
    for path in sorted(after):
        if after[path] != before.get(path):
            yield Publish(path, get(after[path]), before.get(path))


# --- as lines, as the archive's index has them ---


def index(tree: Tree) -> bytes:
    return "".join(f"{tree[path]} {path}\n" for path in sorted(tree)).encode()


def read(content: bytes) -> dict[str, str]:
    lines = (line.partition(" ") for line in content.decode().splitlines())
    return {path: digest for digest, _, path in lines}


# --- Merkle ---


def leaf(path: str, digest: str) -> bytes:
    return hashlib.sha256(f"\0{digest} rsync://{path}\n".encode()).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def _levels(leaves: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """From the leaves up to the root. The last of an odd number goes up as it is, which makes RFC 6962's tree."""
    level = leaves
    while True:
        yield level
        if len(level) <= 1:
            return
        above = [_node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = [*above, level[-1]] if len(level) % 2 else above


def root(tree: Tree) -> bytes:
    """The Merkle root; of an empty tree the hash of nothing."""
    for level in _levels([leaf(path, tree[path]) for path in sorted(tree)]):
        last = level
    return last[0] if last else hashlib.sha256(b"").digest()


def proof(tree: Tree, path: str) -> tuple[int, tuple[bytes, ...]]:
    """(which leaf `path` is, the hashes beside its way up). Raises KeyError."""
    paths = sorted(tree)
    at = spot = paths.index(path) if path in tree else _missing(path)
    beside = []
    for level in _levels([leaf(each, tree[each]) for each in paths]):
        if len(level) > 1 and (spot ^ 1) < len(level):
            beside.append(level[spot ^ 1])
        spot >>= 1
    return at, tuple(beside)


def _missing(path: str) -> int:
    raise KeyError(path)


def proves(path: str, digest: str, at: int, size: int, beside: Sequence[bytes], expected: bytes) -> bool:
    """Whether `beside` shows that the tree of `size` objects with the root `expected` has that object as its leaf `at` (RFC 9162, 2.1.3.2)."""
    if not 0 <= at < size:
        return False
    found, last, rest = leaf(path, digest), size - 1, list(beside)
    while last:
        if at % 2:
            if not rest:
                return False
            found = _node(rest.pop(0), found)
        elif at < last:
            if not rest:
                return False
            found = _node(found, rest.pop(0))
        at, last = at >> 1, last >> 1
    return not rest and found == expected
