"""Mutations of the files of a folder: swapped, cut, longer, linked, missing, or something else instead."""

from __future__ import annotations

from random import Random

from benchmarks.trust.mutated.places import Node

__all__ = ["flipped", "mutated"]

Files = dict[str, "bytes | Node"]


def flipped(chance: Random, data: bytes) -> bytes:
    """Return bytes with a few bits flipped, or a few bytes replaced."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 8))):
        if out:
            at = chance.randrange(len(out))
            out[at] = out[at] ^ 1 << chance.randrange(8) if chance.random() < 0.7 else chance.randrange(256)
    return bytes(out)


def mutated(chance: Random, tree: dict[str, bytes], donor: dict[str, bytes]) -> Files:
    """Return a folder's files with one of them, or two, in another state.

    Args:
        chance: decides.
        tree: the files.
        donor: the files of another folder, which may take their places.
    """
    out: Files = dict(tree)
    name, other = chance.choice(list(tree)), chance.choice(list(tree))
    data = tree[name]
    kind = chance.randrange(16)
    if kind == 0:
        out[name], out[other] = tree[other], data
    elif kind == 1:
        out[name] = data[: chance.randrange(len(data) + 1)]
    elif kind == 2:
        out[name] = data + chance.choice((b"\0", b"\n", bytes(64), chance.randbytes(5), data))
    elif kind == 3:
        out[name] = b""
    elif kind == 4:
        del out[name]
    elif kind == 5:
        out[name] = Node("hole", size=chance.choice((0, len(data), 2**20, 80 * 2**20)))
    elif kind == 6:
        out[name + ".kept"] = data
        out[name] = Node(
            "link", chance.choice((name.rpartition("/")[2] + ".kept", "/dev/zero", "nowhere", "."))
        )
    elif kind == 7:
        out[name + ".kept"] = data
        out[name] = Node("hard link", name.rpartition("/")[2] + ".kept")
    elif kind == 8:
        out[name] = Node("folder")
    elif kind == 9:
        out[name] = Node("pipe")
    elif kind == 10:
        out[name] = chance.choice(list(donor.values()))
    elif kind == 11 and name in donor:
        out[name] = donor[name]
    elif kind == 12:
        half = chance.randrange(len(data) + 1)
        found = chance.choice(list(donor.values()))
        out[name] = data[:half] + found[half : len(data)]
    elif kind == 13:
        out["extra" + chance.choice(("", ".h5", "/x.safetensors", "/.hidden", "/manifest.json"))] = data
    elif kind == 14 and "/" in name:
        folder = name.partition("/")[0]
        for inner in [inner for inner in out if inner.startswith(folder + "/")]:
            del out[inner]
        out[folder] = chance.choice(
            (Node("link", "."), Node("pipe"), b"", Node("folder"), Node("link", "nowhere"))
        )
    else:
        low, size = chance.randrange(len(data) + 1), chance.randint(1, 100)
        out[name] = (
            data[:low] + data[low + size :]
            if chance.random() < 0.5
            else data[:low] + bytes(size) + data[low:]
        )
    return out
