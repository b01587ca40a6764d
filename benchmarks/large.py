"""Converting and extracting a run of a large network: memory, throughput, storage.

Generates checkpoints of a decoder-only transformer in bfloat16 as Hugging Face's trainer lays them down
(`checkpoint-{step}` folders with sharded safetensors): random weights that every step changes a little. Then,
in a fresh process, converts the run to two endpoints and betas and extracts a checkpoint between two
timesteps, while the process's anonymous memory (RssAnon) is sampled. Page cache of mapped files is no part of
it: the system takes it back when it needs it.

A plain read of the same files, 16 MB at a time, is timed in the same run; before it and before the conversion
the files are dropped from the page cache.

    python benchmarks/large.py --folder /big/disk [--parameters 1000000000] [--timesteps 8] [--knots 3]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

EVERY = 500
"""Training steps between two checkpoints."""

NOISE = 2**22
"""Random numbers that are drawn; weights and steps are pieces of them."""

CHILD = """
import json, sys, threading, time
import trajfmt
from trajfmt.convert.options import ConvertOptions; from trajfmt.convert.run import convert
from trajfmt.bundle.extraction import extract

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024

idle, peaks, part = anonymous(), {}, "convert"
done = threading.Event()
def watch():
    while not done.wait(0.005):
        peaks[part] = max(peaks.get(part, 0), anonymous())
threading.Thread(target=watch, daemon=True).start()
source, target, output, times, knots = sys.argv[1:]
start = time.perf_counter()
convert(source, target, ConvertOptions(knots=tuple(map(int, knots.split(","))) if knots else ()))
seconds = {"convert": time.perf_counter() - start}
part, start = "extract", time.perf_counter()
with trajfmt.open(target) as bundle:
    last = bundle[0].last
    for number, t in enumerate(map(float, times.split(","))):
        extract(bundle, 0, t, f"{output}{number}.safetensors")
seconds["extract"] = time.perf_counter() - start
done.set()
print(json.dumps({"idle": idle, "peaks": {k: v - idle for k, v in peaks.items()}, "seconds": seconds}))
"""


def shapes_of(parameters: int) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of a transformer of about that many parameters."""
    vocabulary = 32_000 if parameters >= 2e7 else 256
    wide = [h for h in (4096, 2048, 1024, 512, 256, 128) if 2 * vocabulary * h <= 0.7 * parameters]
    hidden = next((h for h in wide if parameters >= 40 * h * h * 4), 64)
    inner, kv = hidden * 11 // 4, hidden // 8
    layer = {
        "self_attn.q_proj.weight": (hidden, hidden),
        "self_attn.k_proj.weight": (kv, hidden),
        "self_attn.v_proj.weight": (kv, hidden),
        "self_attn.o_proj.weight": (hidden, hidden),
        "mlp.gate_proj.weight": (inner, hidden),
        "mlp.up_proj.weight": (inner, hidden),
        "mlp.down_proj.weight": (hidden, inner),
        "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
    }
    each = sum(int(np.prod(shape)) for shape in layer.values())
    layers = max(1, round((parameters - 2 * vocabulary * hidden) / each))
    table: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for number in range(layers):
        table |= {f"model.layers.{number}.{name}": shape for name, shape in layer.items()}
    return table | {"model.norm.weight": (hidden,), "lm_head.weight": (vocabulary, hidden)}


def generate(folder: Path, parameters: int, timesteps: int, shard_bytes: int) -> int:
    """Write the run a tensor at a time, and return the number of parameters."""
    table = shapes_of(parameters)
    shards = list(_shards(table, shard_bytes))
    names = [f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
    folders = [folder / f"checkpoint-{(t + 1) * EVERY}" for t in range(timesteps)]
    for place in folders:
        place.mkdir(parents=True)
        weight_map = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
        total = sum(2 * int(np.prod(shape)) for shape in table.values())
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (place / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
        config = {"_name_or_path": "benchmark", "model_type": "llama", "torch_dtype": "bfloat16"}
        (place / "config.json").write_text(json.dumps(config))
    rng = np.random.default_rng(0)
    noise = np.tile(rng.standard_normal(NOISE, dtype=np.float32), 2)
    for name, shard in zip(names, shards, strict=True):
        files = [(place / name).open("wb") for place in folders]
        header = _header(shard, table)
        for file in files:
            file.write(header)
        for tensor in shard:
            _write_path(files, int(np.prod(table[tensor])), noise, rng)
        for file in files:
            file.flush()
            os.fsync(file.fileno())
            file.close()
    return sum(int(np.prod(shape)) for shape in table.values())


def _shards(table: dict[str, tuple[int, ...]], most: int) -> Iterator[list[str]]:
    """Yield the tensors of each shard, as Hugging Face cuts them: between tensors, in order."""
    shard, size = [], 0
    for name, shape in table.items():
        nbytes = 2 * int(np.prod(shape))
        if shard and size + nbytes > most:
            yield shard
            shard, size = [], 0
        shard.append(name)
        size += nbytes
    yield shard


def _header(shard: list[str], table: dict[str, tuple[int, ...]]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name in shard:
        stop = start + 2 * int(np.prod(table[name]))
        entries[name] = {"dtype": "BF16", "shape": table[name], "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _write_path(files: list[Any], size: int, noise: Any, rng: np.random.Generator) -> None:
    """Write one tensor's way through training: a random start, and a small random step a timestep."""
    for begin in range(0, size, NOISE):
        count = min(NOISE, size - begin)
        weights = _some(noise, count, rng) * np.float32(0.02)
        for file in files:
            file.write(weights.astype(ml_dtypes.bfloat16).tobytes())
            weights += _some(noise, count, rng) * np.float32(0.0005)


def _some(noise: Any, count: int, rng: np.random.Generator) -> Any:
    start = int(rng.integers(NOISE))
    return noise[start : start + count]


def forget(folder: Path) -> None:
    """Drop the files from the page cache, as far as the system does so when asked."""
    for path in _files(folder):
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def read(folder: Path) -> float:
    """Return the seconds that a plain read of all files takes."""
    buffer = bytearray(2**24)
    start = time.perf_counter()
    for path in _files(folder):
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return time.perf_counter() - start


def equal(folder: Path, extracted: Path) -> bool:
    """Return whether an extracted checkpoint has the same bits as the run's folder of it."""
    from trajfmt.storage.safetensors import SafetensorsFile

    ours = SafetensorsFile(extracted)
    for path in sorted(folder.glob("*.safetensors")):
        theirs = SafetensorsFile(path)
        for name in theirs.tensors:
            if not np.array_equal(ours.array(name).view(np.uint16), theirs.array(name).view(np.uint16)):
                return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--parameters", type=lambda text: int(float(text)), default=1_000_000_000)
    parser.add_argument("--timesteps", type=int, default=8)
    parser.add_argument("--knots", default="", help="waypoints to insert, as for traj convert")
    parser.add_argument("--shard-bytes", type=int, default=500_000_000, help="size of the run's shards")
    parser.add_argument("--folder", type=Path, help="where to put the files (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        measure(Path(place), options)


def measure(place: Path, options: argparse.Namespace) -> None:
    from trajfmt.bundle.report import summarize

    run, target = place / "run", place / "out.mct"
    start = time.perf_counter()
    count = generate(run, options.parameters, options.timesteps, options.shard_bytes)
    size = sum(path.stat().st_size for path in _files(run))
    shards = len(list((run / f"checkpoint-{EVERY}").glob("*.safetensors")))
    print(
        f"run: {count:,} parameters in bfloat16, {options.timesteps} timesteps in {shards} shards each,"
        f" {size / 1e9:.2f} GB, made in {time.perf_counter() - start:.0f} s"
    )
    forget(run)
    plain = read(run)
    forget(run)
    last = options.timesteps - 1
    between = last / 2 + 0.25
    arguments = [run, target, place / "at", f"{between},{last}", options.knots]
    command = [sys.executable, "-c", CHILD, *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout)
    seconds = found["seconds"]
    rates = {"plain read": size / plain, "convert": size / seconds["convert"]}
    rates["extract (written)"] = 2 * 2 * count / seconds["extract"]
    print(f"  idle interpreter with trajfmt: {found['idle']:.0f} MiB anonymous")
    for name, peak in found["peaks"].items():
        print(f"  anonymous memory above it, {name}: {peak:.0f} MiB")
    for name, rate in rates.items():
        print(f"  {name:<18} {rate / 1e6:8.0f} MB/s")
    print(f"  convert / plain read of the same bytes: {seconds['convert'] / plain:.2f} of the time")
    storage = summarize(target).storage
    print(f"  bundle {storage.total / 1e9:.2f} GB of {size / 1e9:.2f} GB: {100 * storage.total / size:.1f}%")
    for name, nbytes in storage.parts.items():
        print(f"    {name:<10} {nbytes:>16,} bytes")
    same = equal(run / f"checkpoint-{options.timesteps * EVERY}", place / "at1.safetensors")
    print(f"  extracted at t = {last}: {'' if same else 'NOT '}the last checkpoint, bit for bit")
    shutil.rmtree(target)


if __name__ == "__main__":
    main()
