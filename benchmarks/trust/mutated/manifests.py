"""Mutations of a manifest that keep it plausible: several keys change together, as a forger changes them."""

from __future__ import annotations

from random import Random
from typing import Any

from benchmarks.trust.mutated.documents import copied

__all__ = ["plausible"]


def plausible(chance: Random, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a manifest with one change that may leave it sound, with other contents."""
    manifest = copied(manifest)
    entry = chance.choice(manifest["trajectories"])
    change = chance.choice(_CHANGES)
    change(chance, manifest, entry)
    if chance.random() < 0.7:
        _declare(manifest)
    return manifest


def _declare(manifest: dict[str, Any]) -> None:
    """Name the features that are in use."""
    top = {"dtype." + p["dtype"] for p in manifest["parameters"]} - {"dtype.F32", "dtype.F64"}
    top |= {"codec." + manifest["codec"]["name"]} - {"codec.none"} if "codec" in manifest else set()
    if not any("feature" in name or "." not in name for name in manifest["requires_read"]):
        manifest["requires_read"] = sorted(top)
    for entry in manifest["trajectories"]:
        used = {"buffers"} & entry.keys() | ({"knots.shards"} if "shards" in entry else set())
        used |= {"table.free"} if entry.get("table", {}).get("free") is True else set()
        if used:
            entry["requires_read"] = sorted(used)
        else:
            entry.pop("requires_read", None)


def _freed(_chance: Random, _manifest: dict[str, Any], entry: dict[str, Any]) -> None:
    if "table" in entry:
        entry["table"]["free"] = not entry["table"].get("free", False)
        if not entry["table"]["free"]:
            del entry["table"]["free"]


def _dropped(chance: Random, manifest: dict[str, Any], entry: dict[str, Any]) -> None:
    for name in ("step_norms", "gram") if "table" in entry else ():
        if chance.random() < 0.5:
            entry["table"].pop(name, None)
    entry.pop(chance.choice(("pieces", "buffers", "numbers", "origin", "x")), None)
    if chance.random() < 0.2:
        manifest["provenance"] = {}


def _moved(chance: Random, _manifest: dict[str, Any], entry: dict[str, Any]) -> None:
    """Move a region, or swap two."""
    places = [(entry, "data")] if "data" in entry else []
    places += [
        (entry["table"], name) for name in ("u", "step_norms", "gram") if name in entry.get("table", {})
    ]
    places += [(shard, "data") for shard in entry.get("shards", [])]
    places += [(entry["pieces"], "data")] if "pieces" in entry else []
    if "chunks" in entry:
        offsets, sizes = entry["chunks"]["offsets"], entry["chunks"]["sizes"]
        places += [(offsets, n) for n in range(len(offsets))]
        if chance.random() < 0.5 and len(sizes) > 1:
            a, b = chance.sample(range(len(sizes)), 2)
            offsets[a], offsets[b], sizes[a], sizes[b] = offsets[b], offsets[a], sizes[b], sizes[a]
            return
    if not places:
        return
    one, key = chance.choice(places)
    if chance.random() < 0.3:
        other, there = chance.choice(places)
        one[key], other[there] = other[there], one[key]
    else:
        one[key] = max(0, one[key] + chance.choice((-64, -8, -4, -2, -1, 1, 2, 4, 8, 64)))


def _timed(chance: Random, _manifest: dict[str, Any], entry: dict[str, Any]) -> None:
    """Change the number of timesteps, and the knots and chunks with it."""
    old = entry["timesteps"]
    new = max(2, old + chance.choice((-2, -1, 1, 2)))
    entry["timesteps"] = new
    if "knots" in entry:
        entry["knots"][-1] = new - 1
    if "chunks" in entry:
        count = len(entry["chunks"]["offsets"]) // old
        for name in entry["chunks"]:
            entry["chunks"][name] = (entry["chunks"][name] * 2)[: new * count]
    if "numbers" in entry:
        entry["numbers"] = [3 * t for t in range(new)]


def _knotted(chance: Random, _manifest: dict[str, Any], entry: dict[str, Any]) -> None:
    """Change knots; weights and table then have other places."""
    if "knots" in entry:
        inner = range(1, entry["timesteps"] - 1)
        count = min(len(inner), max(0, len(entry["knots"]) - 2 + chance.choice((-1, 0, 0, 1))))
        entry["knots"] = [0, *sorted(chance.sample(inner, count)), entry["timesteps"] - 1]


def _shaped(chance: Random, manifest: dict[str, Any], _entry: dict[str, Any]) -> None:
    """Give parameters other shapes, orders, types or layers, with as many elements if possible."""
    parameters, layers = manifest["parameters"], manifest["layers"]
    kind = chance.randrange(5)
    if kind == 0:
        for parameter in parameters:
            parameter["shape"] = chance.choice(
                (parameter["shape"][::-1], [*parameter["shape"], 1], [1, *parameter["shape"]])
            )
    elif kind == 1:
        chance.shuffle(parameters)
    elif kind == 2:
        dtype = chance.choice(("F16", "BF16", "F32", "F64"))
        for parameter in parameters:
            parameter["dtype"] = dtype
    elif kind == 3:
        chance.shuffle(layers)
    else:
        parameters.append({"name": "empty", "shape": [0, 3], "dtype": parameters[0]["dtype"]})
        chance.choice(layers)["parameters"].append(len(parameters) - 1)


def _coded(chance: Random, manifest: dict[str, Any], entry: dict[str, Any]) -> None:
    """Change codec, chunk, keyframe or slopes."""
    codec = manifest.get("codec", {})
    kind = chance.randrange(4)
    if kind == 0 and "keyframe" in codec:
        codec["keyframe"] = chance.choice((1, 2, 3, 5, 2**53 - 1))
    elif kind == 1 and "chunk" in codec:
        codec["chunk"] = chance.choice(
            (1, codec["chunk"] + 1, codec["chunk"] * 2, max(1, codec["chunk"] - 1))
        )
    elif kind == 2 and entry.get("chunks", {}).get("slopes"):
        slopes = entry["chunks"]["slopes"]
        slopes[chance.randrange(len(slopes))] = chance.randint(-1, 4)
    elif codec.get("name") == "zstd":
        codec |= {"name": "archive", "keyframe": chance.choice((1, 2, 5))}
        for one in manifest["trajectories"]:
            if "chunks" in one:
                one["chunks"]["slopes"] = [chance.randint(-1, 4) for _ in one["chunks"]["sizes"]]
    elif codec.get("name") == "archive":
        codec["name"] = "zstd"
        codec.pop("keyframe", None)
        for one in manifest["trajectories"]:
            one.get("chunks", {}).pop("slopes", None)


def _versioned(chance: Random, manifest: dict[str, Any], entry: dict[str, Any]) -> None:
    """Make it a bundle of another version, perhaps with keys and features of its own."""
    manifest["version"]["minor"] = chance.choice((0, 1, 2, 2**53 - 1, 2**53))
    for place, name in ((manifest, "future"), (entry, "future"), (entry.get("pieces", {}), "future")):
        if chance.random() < 0.3:
            place[name] = chance.choice((1, [], {"a": None}))
    if chance.random() < 0.3:
        entry["requires_read"] = sorted([*entry.get("requires_read", []), "future"])
    if chance.random() < 0.1:
        manifest["requires_read"] = sorted([*manifest["requires_read"], "future"])


def _grown(chance: Random, manifest: dict[str, Any], entry: dict[str, Any]) -> None:
    """Repeat, remove or swap trajectories, or make them share what they have."""
    entries = manifest["trajectories"]
    kind = chance.randrange(4)
    if kind == 0:
        entries.append(copied(entry))
    elif kind == 1 and len(entries) > 1:
        entries.remove(entry)
    elif kind == 2:
        chance.shuffle(entries)
    else:
        other = chance.choice(entries)
        for key in ("file", "data", "table", "buffers", "pieces", "shards"):
            if key in other and chance.random() < 0.3:
                entry[key] = copied(other[key])


def _stated(chance: Random, manifest: dict[str, Any], entry: dict[str, Any]) -> None:
    """State other facts, which change no weights."""
    if manifest["encoding"] == "convex" and chance.random() < 0.3:
        manifest["smoothed"] = True
    entry["numbers"] = sorted(
        chance.sample(range(2**53 if chance.random() < 0.3 else 50), entry["timesteps"])
    )
    manifest["provenance"] |= chance.choice(
        (
            {"timestep": {"kind": "step", "every": 2**53 - 1}, "first_timestep": 2**31 - 1},
            {"model": {"family": "ConvNet", "depth": 3, "width": 128, "channels": 3, "classes": 10}},
            {"model": {"family": "other", "factory": "os:system", "channels": 1, "classes": 1}},
            {"recipe": {"lr": 1e308, "\u202e": None, "": "\0"}},
            {"known_from": {"dataset": "file"}, "dataset": "\u202e\x1b[31m"},
            {"preprocessing": {"kind": "zca", "eps": -0.0, "mean": [1e308, -1]}},
        )
    )


_CHANGES = (
    *(_freed, _dropped, _moved, _moved, _timed, _knotted, _shaped, _coded, _coded),
    *(_versioned, _grown, _stated),
)
