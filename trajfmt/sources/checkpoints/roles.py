"""What the name of a file or folder in a training run says about it: a copy, unfinished, or no weights."""

from __future__ import annotations

import re
from typing import Final

__all__ = [
    "LABELS",
    "bare",
    "is_alias",
    "is_copy",
    "is_identity",
    "is_score",
    "is_setting",
    "is_training_state",
    "is_unfinished",
]

_SUFFIXES: Final = re.compile(r"(?:\.(?:pt|pth|ckpt|bin|th|torch|safetensors|tar))+\Z", re.IGNORECASE)

LABELS: Final = {
    "step": r"(?<![a-z])(?:global_?step|steps?|iters?|iterations?|itr|updates?|ba)[=_\-. ]?",
    "epoch": r"(?<![a-z])(?:epochs?|ep)[=_\-. ]?",
}
"""What stands before a number of steps, and of epochs."""

_NUMBERED: Final = re.compile(rf"(?:{'|'.join(LABELS.values())})[0-9]", re.I)
_COPIES: Final = "last|latest|best|final|top"
_WORDS: Final = f"{_COPIES}|init|swa|ema|averaged"
_ALIAS: Final = re.compile(
    rf"(?:.*[_\-.])?(?:{_WORDS})(?:-v[0-9]+)?|(?:{_WORDS})[_\-.][^0-9]*|"
    "(?:pytorch_)?model|checkpoint|ckpt|weights|adapter_model|consolidated",
    re.I,
)
_COPY: Final = re.compile(rf"(?:.*[_\-.])?(?:{_COPIES})[_\-.=].*", re.I)
_UNFINISHED: Final = re.compile(
    r"(?:.*[_\-. ])?(?:te?mp|temporary|partial|incomplete|unfinished|staging|in[_-]?progress|crdownload|"
    r"bak|backup|old)(?:[_\-. ].*)?|.*\.part(?:\..*)?|.*~",
    re.I,
)
_TRAINING_STATE: Final = re.compile(
    r"(?:.*[_\-.])?(?:optimizer|optim|distrib_optim|opt_state|lr_scheduler|scheduler|scaler|grad_scaler|"
    r"rng_state|random_states?|training_args|trainer_state|training_state|sampler)s?(?![a-z]).*|"
    r".*_optim_states\..*",
    re.I,
)
_IDENTITY: Final = re.compile(
    r".*(?<![a-z])(?:seed|fold|run|trial|exp|experiment|client|worker|agent|member|ensemble|replica|rank|gpu|node|"
    r"shard|part|split|stage|phase|layer|block|expert|head|world_?size|of|size|version|v|consolidated|model_?part|"
    r"cv|job|task|process|tp|mp|pp|dp|subject|class|best|best_?model)[=_\-. ]?",
    re.I | re.S,
)
_SCORE: Final = re.compile(
    r".*(?<![a-z])(?:(?:\w+_)?(?:loss|acc|accuracy|reward|return|score|error|err|m?iou|m?ap|ppl|perplexity|wer|cer|f1|"
    r"auc|auroc|bleu|rouge|psnr|ssim|fid|dice|top1|top5|metric))[=_\-. ]?",
    re.I | re.S,
)


_SETTING: Final = re.compile(
    r".*(?<![a-z])(?:lr|learning_?rate|wd|weight_?decay|beta|alpha|gamma|lambda|tau|eps|temp|temperature|dropout|"
    r"momentum|decay|ratio|scale|rate|sigma|ema|noise|"
    r"width|depth|batch|batch_?size|bs|hidden|dim|size)[=_\-. ]?",
    re.I | re.S,
)


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
    """Return whether a name with a number calls a checkpoint the best or the last of others.

    >>> is_copy("best_acc_epoch_3.pth"), is_copy("epoch_3.pth")
    (True, False)
    """
    return _COPY.fullmatch(bare(name)) is not None


def is_unfinished(name: str) -> bool:
    """Return whether a name says that the writer was interrupted, or that this is a backup.

    >>> [is_unfinished(name) for name in ("tmp-checkpoint-300", "step_3.tmp.pt", "template_3.pt")]
    [True, True, False]
    """
    return _UNFINISHED.fullmatch(name) is not None


def is_training_state(name: str) -> bool:
    """Return whether a file, or a key, is the state of an optimizer, a scheduler or a random generator.

    >>> [is_training_state(name) for name in ("optimizer_100.pt", "rng_state.pth", "opt_125m_100.pt")]
    [True, True, False]
    """
    return _TRAINING_STATE.fullmatch(name) is not None


def is_identity(before: str) -> bool:
    """Return whether the text before a number says that it tells models or their parts apart.

    >>> is_identity("model_fold"), is_identity("model_world_size_2_rank_"), is_identity("model_")
    (True, True, False)
    """
    return _IDENTITY.fullmatch(before) is not None


def is_setting(before: str) -> bool:
    """Return whether the text before a number says that it is a setting of the training.

    >>> is_setting("lr="), is_setting("net_")
    (True, False)
    """
    return _SETTING.fullmatch(before) is not None


def is_score(before: str) -> bool:
    """Return whether the text before a number says that it measures the quality of a model.

    >>> is_score("val_loss="), is_score("net_acc"), is_score("net_")
    (True, True, False)
    """
    return _SCORE.fullmatch(before) is not None
