"""Names of devices: `auto`, what a device is called for people, and GPUs shared by processes."""

import pytest

torch = pytest.importorskip("torch")

from mct.errors import ConfigError  # noqa: E402
from mct.runtime import ranks  # noqa: E402
from mct.runtime.devices import described, device_of, settled  # noqa: E402


@pytest.mark.parametrize(("there", "expected"), [(True, "cuda"), (False, "cpu")])
def test_auto_is_the_gpu_where_there_is_one(there: bool, expected: str, monkeypatch) -> None:
    """Other names stay what they are."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert settled("auto") == expected
    assert (settled("cpu"), settled("cuda:1")) == ("cpu", "cuda:1")


def test_auto_is_a_device_that_works() -> None:
    """Tensors can be made on it."""
    assert device_of("auto").type in ("cuda", "cpu")


def test_gpu_that_cannot_be_used_is_refused_with_a_way_out(monkeypatch) -> None:
    """A GPU that torch finds and cannot use is no reason to compute on the CPU without a word."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def fail(*_, **__):
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable\nmore lines")

    monkeypatch.setattr(torch, "zeros", fail)
    with pytest.raises(ConfigError) as caught:
        device_of("auto")
    assert str(caught.value) == (
        "`device` 'cuda' cannot be used: CUDA error: all CUDA-capable devices are busy or unavailable; "
        "use --device cpu to compute on the CPU"
    )


def test_cpu_is_described_with_its_threads() -> None:
    """Their number decides the time."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert described("cpu") == "the CPU, 1 thread"
        torch.set_num_threads(2)
        assert described("cpu") == "the CPU, 2 threads"
    finally:
        torch.set_num_threads(before)


def test_more_processes_than_gpus_are_refused(monkeypatch) -> None:
    """With how many there are, in place of the driver's words about an ordinal."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")

    class Group(ranks.Alone):
        """Stands for the processes of the run, without any others."""

        def __init__(self, _backend: str, _place: object, **_: object) -> None:
            pass

    monkeypatch.setattr(ranks, "Group", Group)
    for name, value in {"RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught, ranks.joined("auto"):
        pass
    assert str(caught.value).startswith("4 processes on this machine, which has 2 GPUs; start at most 2")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gpu", "GPUs are called cuda, or cuda:0, cuda:1 and so on; auto is the first one, if there is one"),
        (
            "gpu:1",
            "GPUs are called cuda, or cuda:0, cuda:1 and so on; auto is the first one, if there is one",
        ),
        ("abacus", "torch knows no such device; use cpu, cuda, cuda:N for the GPU with number N, or auto"),
        ("cuda:x", "torch knows no such device; use cpu, cuda, cuda:N for the GPU with number N, or auto"),
        ("mps", "torch finds no GPU of Apple on this machine; use --device cpu to compute on the CPU"),
    ],
)
def test_a_name_of_no_device_is_answered_with_those_there_are(monkeypatch, name: str, reason: str) -> None:
    """In one short line, instead of torch's list of backends."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError) as caught:
        device_of(name)
    assert str(caught.value) == f"`device` {name!r} cannot be used: {reason}"


@pytest.mark.parametrize(
    ("there", "said", "reason"),
    [
        (1, "CUDA error: invalid device ordinal\nmore", "there is only cuda:0; use --device cpu"),
        (4, "CUDA error: invalid device ordinal\nmore", "GPUs go up to cuda:3"),
        (0, "Torch not compiled with CUDA enabled", "this build of torch is for CPUs only; install one for"),
    ],
)
def test_a_gpu_that_is_not_there_is_told_from_a_build_without_any(
    monkeypatch, there: int, said: str, reason: str
) -> None:
    """With the number of GPUs in place of the driver's words."""

    def fail(*_, **__):
        raise AssertionError(said)

    monkeypatch.setattr(torch, "zeros", fail)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    with pytest.raises(ConfigError) as caught:
        device_of("cuda:9")
    assert str(caught.value).startswith(f"`device` 'cuda:9' cannot be used: {reason}")
