"""What the name of a file or folder in a training run says about it: a copy, unfinished, or no weights."""

from __future__ import annotations

import re
from typing import Final

__all__ = [
    "MANY",
    "ONE",
    "bare",
    "is_alias",
    "is_copy",
    "is_duplicate",
    "is_set",
    "is_training_state",
    "is_unfinished",
]

_SUFFIXES: Final = re.compile(r"(?:\.(?:pt|pth|ckpt|bin|th|torch|safetensors|tar))+\Z", re.IGNORECASE)

ONE: Final = r"(?:global_?)?step|iter|iteration|itr|update|epoch|ep"
MANY: Final = r"steps|iters|iterations|updates|epochs"
"""What names call a step or an epoch, and several of them."""

_NUMBERED: Final = re.compile(rf"(?<![a-z])(?:{ONE}|{MANY}|ba)[=_\-. ]?[0-9]", re.I)

_COPIES: Final = "last|latest|best|final|top"
_WORDS: Final = f"{_COPIES}|init|swa|ema|averaged"
_ALIAS: Final = re.compile(
    rf"(?:.*[_\-.])?(?:{_WORDS})(?:-v[0-9]+)?|(?:{_WORDS})[_\-.][^0-9]*|"
    "(?:pytorch_)?model|checkpoint|ckpt|weights|adapter_model|consolidated",
    re.I,
)
_COPY: Final = re.compile(rf"(?:.*[_\-.])?(?:{_COPIES})[_\-.=].*", re.I)
_DUPLICATE: Final = re.compile(r"copy of .*|.* copy(?: [0-9]+)?|.* \([0-9]+\)|.*[_\-.]sync-conflict-.*", re.I)
_UNFINISHED: Final = re.compile(
    r"(?:.*[_\-. ])?(?:temp(?![_\-. =]?[0-9])|tmp|temporary|partial|incomplete|unfinished|staging|"
    r"in[_-]?progress|crdownload|filepart|download|aria2|bak|backup|old)(?:[_\-. ].*)?|"
    r".*\.part(?:\..*)?|.*gstmp|.*~",
    re.I,
)
_TRAINING_STATE: Final = re.compile(
    r"(?!model_optim_rng\.)(?:.*[_\-.])?(?:optimizer|optim|distrib_optim|opt_state|lr_scheduler|scheduler|scaler|grad_scaler|"
    r"rng_state|random_states?|training_args|trainer_state|training_state|sampler|dl_state_dict)s?(?![a-z=]).*|"
    r".*_optim_states\..*",
    re.I,
)


_SET: Final = re.compile(
    r"(?:.*[_\-.])?(?:ema|swa|averaged?|avg|shadow|exp_avg(?:_sq)?|exp_inf|moments?)"
    r"(?:[_\-.][^0-9]*)?",
    re.I,
)


def is_set(name: str) -> bool:
    """Return whether a folder is called an average of the weights, or a state of the optimizer.

    >>> is_set("unet_ema"), is_set("exp_avg"), is_set("seed1")
    (True, True, False)
    """
    return _SET.fullmatch(name) is not None


def bare(name: str) -> str:
    """Return a name without the suffixes of checkpoints.

    >>> bare("epoch=3-step=1200.ckpt"), bare("model_12.pth.tar")
    ('epoch=3-step=1200', 'model_12')
    """
    return _SUFFIXES.sub("", name)


def is_alias(name: str) -> bool:
    """Return whether a name refers to a checkpoint without its step, such as `last.ckpt` or `model_best.pth`.

    >>> is_alias("last-v1.ckpt"), is_alias("resnet18_best.pth.tar"), is_alias("best-epoch=1.ckpt")
    (True, True, False)
    """
    plain = bare(name)
    return _ALIAS.fullmatch(plain) is not None and not _NUMBERED.search(plain)


def is_copy(name: str) -> bool:
    """Return whether a name with a number calls a checkpoint the best or the last of others, or a copy.

    >>> [is_copy(name) for name in ("best_acc_epoch_3.pth", "epoch_3.pth", "epoch_3 (1).pth", "Copy of 3.pt")]
    [True, False, True, True]
    """
    return _COPY.fullmatch(bare(name)) is not None or is_duplicate(name)


def is_duplicate(name: str) -> bool:
    """Return whether a program that copies files has made a name, since there was a file of that name.

    >>> [is_duplicate(name) for name in ("model (1).safetensors", "model copy.pt", "model_1.pt")]
    [True, True, False]
    """
    return _DUPLICATE.fullmatch(bare(name)) is not None


def is_unfinished(name: str) -> bool:
    """Return whether a name says that the writer was interrupted, or that this is a backup.

    A number behind `temp` is a temperature.

    >>> [is_unfinished(name) for name in ("tmp-checkpoint-300", "step_3.tmp.pt", "template_3.pt", "temp_0.5")]
    [True, True, False, False]
    """
    return _UNFINISHED.fullmatch(name) is not None


def is_training_state(name: str) -> bool:
    """Return whether a file, or a key, is the state of an optimizer, a scheduler or a random generator.

    A setting such as `optimizer=sgd` is none, and Megatron's `model_optim_rng.pt` holds weights, too.

    >>> [is_training_state(name) for name in ("optimizer_100.pt", "rng_state.pth", "net_optimizer=sgd_1.pt")]
    [True, True, False]
    """
    return _TRAINING_STATE.fullmatch(name) is not None
