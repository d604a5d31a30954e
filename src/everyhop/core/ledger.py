"""The tree over observations: leaves, roots, and proofs that something is in them (RFC 6962, 2.1).

Rules: SHA-256 from the standard library, and the RFC's two prefixes, so that a leaf can never pass for a node. A root
is a pure function of the leaves in order. Nothing here signs: a root is worth something once a seal signs it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from everyhop.core.observation import Observation, canonical

EMPTY = hashlib.sha256(b"").digest()
"""The root of no leaves (RFC 6962, 2.1)."""


def leaf(observation: Observation) -> bytes:
    """The leaf hash of an observation that has its sequence number."""
    return hashlib.sha256(b"\x00" + canonical(observation)).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash of leaf hashes."""
    level = list(leaves)
    if not level:
        return EMPTY
    while len(level) > 1:
        # Joining neighbours level by level, and carrying an odd last one up, gives the RFC's tree.
        joined = [_node(level[index], level[index + 1]) for index in range(0, len(level) - 1, 2)]
        level = joined + level[len(joined) * 2 :]
    return level[0]


def path(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The audit path of a leaf (RFC 6962, 2.1.1): the hashes that lead from it to the root, lowest first.

    Raises ``IndexError`` if there is no such leaf.
    """
    return paths(leaves, [index])[0]


def paths(leaves: Sequence[bytes], indexes: Sequence[int]) -> list[tuple[bytes, ...]]:
    """The audit paths of several leaves; the tree is built once. Raises as :func:`path`."""
    wrong = [index for index in indexes if not 0 <= index < len(leaves)]
    if wrong:
        raise IndexError(f"expected a leaf from 0 to {len(leaves) - 1}, got {wrong[0]}")
    level, places, found = list(leaves), list(indexes), [list[bytes]() for _ in indexes]
    while len(level) > 1:
        for way, place in zip(found, places, strict=True):
            neighbour = place ^ 1
            if neighbour < len(level):
                way.append(level[neighbour])
        joined = [_node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level, places = joined + level[len(joined) * 2 :], [place // 2 for place in places]
    return [tuple(way) for way in found]


def root_from_path(leaf_hash: bytes, index: int, size: int, hashes: Sequence[bytes]) -> bytes | None:
    """The root that a leaf and its audit path lead to (RFC 9162, 2.1.3.2), or None if the path does not fit the tree's
    ``size``."""
    if not 0 <= index < size:
        return None
    node, last, waiting = leaf_hash, size - 1, list(hashes)
    while last:
        if index % 2 or index < last:
            if not waiting:
                return None
            other = waiting.pop(0)
            node = _node(other, node) if index % 2 else _node(node, other)
        index, last = index // 2, last // 2
    return None if waiting else node


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
