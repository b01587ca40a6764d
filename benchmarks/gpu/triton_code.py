"""The Triton code that torch's compiler writes for the ConvNet's steps, written without a GPU, and counted.

    python benchmarks/gpu/triton_code.py [--model ConvNetD3W128] [--images 10] [--code FOLDER]

In a small inner loop a step takes as long as its launches, so their number is what to watch: an outer step
makes those of `keep` and of `vjp_hvp, kept` N times, or those of `gradient` and `vjp_hvp` if nothing is kept.
A call of a library, such as a convolution, is one launch or a few.

Needs a build of torch for CUDA with Triton, and neither a driver nor a GPU: the compiler is told that it has
an H100. That goes through what is private in torch; it worked with torch 2.11.0 and Triton 3.6.0, and with
2.14.1 and 3.8.0. The code is not run. Exits with 0 if all of it could be written.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

H100 = SimpleNamespace(
    name="NVIDIA H100",
    major=9,
    minor=0,
    multi_processor_count=132,
    total_memory=80 << 30,
    max_threads_per_multi_processor=2048,
    max_threads_per_block=1024,
    regs_per_multiprocessor=65536,
    warp_size=32,
    shared_memory_per_block=48 << 10,
    shared_memory_per_block_optin=227 << 10,
    shared_memory_per_multiprocessor=228 << 10,
    L2_cache_size=50 << 20,
    gcnArchName="",
)


def main() -> int:
    """Print a line for every function, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="ConvNetD3W128")
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--code", type=Path, help="where to write the code")
    options = parser.parse_args()
    if torch.version.cuda is None:
        print(f"needs a build of torch for CUDA, this is {torch.__version__}", file=sys.stderr)
        return 2
    import triton

    print(f"torch {torch.__version__}, Triton {triton.__version__}, {options.model}, {options.images} images")
    failed = 0
    for dtype in (torch.float32, torch.bfloat16):
        for name, function, inputs, mode in functions(options.model, options.images, dtype):
            label = f"{str(dtype).removeprefix('torch.'):9} {name:11}"
            try:
                code = written(function, inputs, mode)
            except Exception as exc:
                failed += 1
                print(f"{label} {type(exc).__name__}: {' '.join(str(exc).split())[:160]}")
                continue
            launches, library = code.count(".run("), code.count("extern_kernels.")
            print(f"{label} {launches:3} launches of kernels, {library:3} calls of libraries", flush=True)
            if options.code is not None:
                options.code.mkdir(parents=True, exist_ok=True)
                (options.code / f"{label.strip().replace(' ', '-').replace(',', '')}.py").write_text(code)
    return int(failed > 0)


def functions(
    name: str, images: int, dtype: torch.dtype
) -> Iterator[tuple[str, Callable[..., object], Sequence[Tensor], Any]]:
    """Yield the functions of a network's step, with fake CUDA tensors to call them with."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    from mct.inner.steps.convnet import ConvNetStep
    from mct.models import networks
    from mct.runtime.seeds import generator

    torch.backends.cudnn.enabled = False  # which algorithms it has, only a driver knows
    model = networks.parse(name, channels=3, image_size=32, classes=10)
    network = networks.build(model, generator=generator(0))
    step, size = ConvNetStep(network), sum(value.numel() for value in network.parameters())
    with FakeTensorMode() as mode:
        shape = (images, 3, 32, 32)
        theta, adjoint = (torch.empty(size, device="cuda", dtype=dtype) for _ in range(2))
        pixels = torch.empty(shape, device="cuda", dtype=dtype, memory_format=torch.channels_last)
        targets = torch.empty(images, 10, device="cuda", dtype=dtype)
        kept = step.keep(theta, pixels, targets)[1]
    at = theta, pixels, targets
    yield "gradient", lambda *at: step.gradient(*at), at, mode
    yield "keep", lambda *at: tree_leaves(step.keep(*at)), at, mode
    yield "vjp_hvp", lambda *at: step.vjp_hvp(*at), (theta, adjoint, pixels, targets), mode
    yield (
        "vjp_hvp, kept",
        lambda *at: step.vjp_hvp(*at[:4], at[4:]),
        (theta, adjoint, pixels, targets, *kept),
        mode,
    )


def written(function: Callable[..., object], inputs: Sequence[Tensor], mode: Any) -> str:
    """Return the code that the compiler writes for a function of some fake tensors."""
    from torch._inductor.debug import DebugContext
    from torch._inductor.decomposition import select_decomp_table
    from torch._inductor.graph import GraphLowering
    from torch._inductor.virtualized import V
    from torch.fx.experimental.proxy_tensor import make_fx

    names = [f"a{number}" for number in range(len(inputs))]  # of a function with `*at` it counts none
    counted = eval(f"lambda {', '.join(names)}: function({', '.join(names)})", {"function": function})
    with mode:
        module = make_fx(counted, decomposition_table=select_decomp_table())(*inputs)
        graph = GraphLowering(module, is_inference=True)
        debug = V.set_debug_handler(DebugContext())
        with debug, V.set_graph_handler(graph), V.set_fake_mode(mode), _imagined():
            graph.run(*inputs)
            code = graph.codegen()[0]
    return code if isinstance(code, str) else code.value


@contextmanager
def _imagined() -> Iterator[None]:
    """Let the compiler find an H100."""
    from unittest import mock

    import torch._subclasses.fake_tensor as fakes
    from torch._dynamo.device_interface import CudaInterface
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    driver.set_active(
        SimpleNamespace(
            get_current_target=lambda: GPUTarget("cuda", 90, 32),
            get_current_device=lambda: 0,
            get_active_torch_device=lambda: torch.device("cuda", 0),
        )
    )
    facts = {
        "get_device_properties": lambda *_: H100,
        "current_device": lambda: 0,
        "is_available": lambda: True,
    }
    capable = {"get_compute_capability": lambda *_: 90, "is_triton_capable": lambda *_: True}
    with (
        mock.patch.multiple(
            torch.cuda, get_device_capability=lambda *_: (9, 0), device_count=lambda: 1, **facts
        ),
        mock.patch.multiple(
            CudaInterface, **{name: staticmethod(value) for name, value in (facts | capable).items()}
        ),
        mock.patch.object(fakes, "init_gpu_context"),
        mock.patch.object(CudaInterface, "raise_if_triton_unavailable"),
    ):
        yield


if __name__ == "__main__":
    sys.exit(main())
