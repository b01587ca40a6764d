"""Part 1: what the machine is, and the ceilings that it sets."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

from context import Context, synchronize

ROWS = {
    "device": "device",
    "software": "driver, torch, Python",
    "copy": "copy on the device",
    "pinned": "copy from pinned memory to the device",
    "matrix float32": "matrix product, float32",
    "matrix tf32": "matrix product, TF32",
    "matrix bf16": "matrix product, bfloat16",
    "convolution float32": "convolution 128 to 128 channels, float32",
    "convolution tf32": "convolution 128 to 128 channels, TF32 (what PyTorch does unasked)",
}


def rows(_context: Context) -> dict[str, str]:
    """Return the rows of the table."""
    return ROWS


def show(row: str, facts: dict[str, Any], _all: dict[str, dict[str, Any]]) -> str:
    """Return the text of a row."""
    if "bandwidth" in facts:
        return f"{facts['bandwidth']:.3g} TB/s" + (
            ", counting bytes read and written" if row == "copy" else ""
        )
    if "rate" in facts:
        return f"{facts['rate']:.4g} TFLOP/s"
    return str(facts["text"])


def run(context: Context) -> None:
    """Measure everything."""
    import torch

    if context.cuda:
        facts = torch.cuda.get_device_properties(0)
        text = f"{facts.name}, {facts.total_memory / 2**30:.1f} GiB, {facts.multi_processor_count} processors"
        driver = f"driver {_driver()}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, "
    else:
        text, driver = f"{platform.machine()}, {os.cpu_count()} cores", "no driver, "
    context.emit("device", text=text)
    context.emit("software", text=f"{driver}torch {torch.__version__}, Python {platform.python_version()}")
    device = torch.device(context.device)

    size = 1 << (28 if context.full else 22)
    one, two = (torch.ones(size, device=device) for _ in range(2))
    context.emit("copy", bandwidth=2 * one.nbytes / _seconds(context, lambda: two.copy_(one)) / 1e12)
    if context.cuda:
        host = torch.ones(size // 4).pin_memory()
        seconds = _seconds(context, lambda: two[: size // 4].copy_(host, non_blocking=True))
        context.emit("pinned", bandwidth=host.nbytes / seconds / 1e12)
    else:
        context.emit("pinned", text="there is no device to copy to")
    del one, two

    side = 8192 if context.full else 512
    for name, dtype, tf32 in (
        ("float32", torch.float32, False),
        ("tf32", torch.float32, True),
        ("bf16", torch.bfloat16, False),
    ):
        if name == "tf32" and not context.cuda:
            context.emit("matrix tf32", text="only on a GPU")
            continue
        torch.backends.cuda.matmul.allow_tf32 = tf32
        one, two = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        seconds = _seconds(context, lambda one=one, two=two: one @ two)
        context.emit(f"matrix {name}", rate=2 * side**3 / seconds / 1e12)
    torch.backends.cuda.matmul.allow_tf32 = False

    count = 1024 if context.full else 8
    images = torch.randn(count, 128, 16, 16, device=device).contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(128, 128, 3, 3, device=device).contiguous(memory_format=torch.channels_last)
    for name, tf32 in (("float32", False), ("tf32", True)):
        if name == "tf32" and not context.cuda:
            context.emit("convolution tf32", text="only on a GPU")
            continue
        torch.backends.cudnn.allow_tf32 = tf32
        seconds = _seconds(context, lambda: torch.conv2d(images, kernel, padding=1))
        context.emit(f"convolution {name}", rate=2 * count * 16 * 16 * 9 * 128 * 128 / seconds / 1e12)


def _seconds(context: Context, work: Callable[[], object], rounds: int = 7) -> float:
    """Return the median time of a call, after two that do not count."""
    found = []
    for number in range(rounds + 2):
        synchronize(context)
        start = time.perf_counter()
        work()
        synchronize(context)
        if number > 1:
            found.append(time.perf_counter() - start)
    return statistics.median(found)


def _driver() -> str:
    try:
        import pynvml

        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except Exception as exc:  # without the package, or without the right to ask
        return f"unknown ({type(exc).__name__})"
