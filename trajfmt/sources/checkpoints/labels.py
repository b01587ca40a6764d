"""The closed lists of words that say what a number in a name is: a step, an epoch, or a score.

A number is a step or an epoch if a word says so directly before it (`step_100`, `epoch=3`, `modelStep100`),
or behind it with nothing but words for a checkpoint around (`100steps`, `model_3epochs`), or if nothing but a
word for a checkpoint stands beside it (`500`, `checkpoint-500`, `model_12`). Before `step_100` the name of a
run may stand (`resnet18_step_100`), but no word that makes a setting of it: `max_epoch_50`, `n_step_3`. Of
all other numbers nothing is known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

from trajfmt.sources.checkpoints.names import Name
from trajfmt.sources.checkpoints.roles import MANY, ONE

__all__ = [
    "Unit",
    "doubt_of",
    "is_count",
    "is_joined",
    "is_labelled",
    "is_plain",
    "is_score",
    "is_step_folder",
    "labels_of",
]

Unit = Literal["step", "epoch"]

_WORDS: Final = (
    "checkpoint|ckpt|chkpt|chkpnt|snapshot|saved?|model|network|net|weights|params|parameters|"
    "state_?dict|state|theta|w"
)
"""What names may call a checkpoint, or what is in it."""

_MOMENTS: Final = "checkpoint|ckpt|chkpt|chkpnt|snapshot|save"
"""What the folder of a checkpoint may be called. `model_1/` and `model_2/` may be two models."""

_SETTINGS: Final = (
    "n|k|t|m|num|number|nr|no|max|maximum|min|minimum|total|warm|warmup|up|first|last|avg|average|mean|every|each|"
    "per|inner|outer|multi|single|accum|accumulate|accumulation|decay|lr|rollout|unroll|unrolled|"
    "horizon|lookahead|ahead|pred|prediction|future|ode|sde|ddim|ddpm|sample|sampling|diffusion|denoise|denoising|"
    "noise|time|sub|half|start|end|stop|until|resume|from|to|log|logging|interval|freq|patience|burn|burnin|cycle|"
    "restart|mcmc|euler|solver|skip"
)
"""Words that make a setting of a step or an epoch behind them."""

_COPIES: Final = "final|last|latest|best"
_PARALLEL: Final = re.compile(r"(?:.*[^A-Za-z])?(?:tp|pp|dp|cp|mp|etp)[-_=]?", re.I | re.S)
"""What is before the number of a rank. Beside it, `ep` is expert parallelism, and no epoch."""

_COUNT: Final = re.compile(r"(?:.*[-_.])?(?:tokens|consumed_samples)[-_=]?", re.S)
"""What OLMo and NeMo write behind the step: how much training data it has seen."""

_GAP: Final = r"[-_. =]"
_START: Final = r"(?:(?<![^\W\d_])|(?<=[a-z])(?=[A-Z]))"
"""The beginning of a word, also of one inside of `camelCase`."""

_PLAIN: Final = rf"{_GAP}*(?:(?i:{_WORDS})(?:{_GAP}+|(?=[A-Z])|\Z))*"
_BEFORE: Final = re.compile(rf"(?:.*{_START})?(?P<word>(?i:{ONE}))[-_. =]?", re.S)
_BEFORE_MANY: Final = re.compile(rf"(?:.*/)?(?P<plain>.*?){_START}(?P<word>(?i:{MANY}))[-_. =]?", re.S)
_HARMLESS: Final = rf"{_GAP}*(?:(?i:{_WORDS}|global|train|training|best|{ONE})(?:{_GAP}+|(?=[A-Z])|\Z))*"
"""What may stand before such a word and makes nothing else of the number."""

_SET: Final = re.compile(rf"(?:.*{_START})?(?i:{_SETTINGS}){_GAP}*", re.S)
_FOLDER: Final = re.compile(rf"(?:{ONE}|{MANY}){_GAP}?[0-9]+|[0-9]+{_GAP}?(?:{ONE}|{MANY})", re.I)
_STEP: Final = re.compile(
    rf"(?:.*[_\-.])?(?:{_MOMENTS}|{ONE}|{MANY}){_GAP}?[0-9]+(?:-tokens[0-9]+B)?|[0-9]+{_GAP}?(?:{ONE}|{MANY})",
    re.I,
)
_REST: Final = re.compile(
    rf"(?:{_GAP}*(?:(?i:{_WORDS}|{_COPIES})(?:{_GAP}+|\Z))*)(?:\Z|(?i:{ONE}|{MANY}).*|.*/.*)", re.S
)
"""What may follow a word behind a number in a name."""

_BEHIND: Final = re.compile(rf"[-_ ]?(?P<word>(?i:{ONE}|{MANY}))(?:[-_. =/]|\Z)")
_SCORE: Final = re.compile(
    r"(?:\A|.*[0-9/]|.*--)[-_. ]*"
    rf"(?:(?i:val|valid|validation|train|training|test|eval|dev|avg|mean|best|{_WORDS})[-_. ])*"
    r"(?i:loss|acc|accuracy|err|error|reward|score|metric|iou|miou|ppl|perplexity|wer|cer|f1|auc|auroc|bleu|"
    r"psnr|ssim|fid|dice|top1|top5|nll|mse|mae|rmse)[-_= ]?-?",
    re.S,
)
_VALUE: Final = re.compile(r"[0-9]+\.[0-9]+(?:e[-+]?[0-9]+)?|[0-9]+e[-+]?[0-9]+")
_ALONE: Final = re.compile(r"[-_,.'’·\s\u200b\u2060]+")
_SIGN: Final = re.compile(r"(?:.*[-_. =/])?-", re.S)
"""The text before a negative number."""


def labels_of(texts: Sequence[str]) -> list[list[Unit]]:
    """Return what the words beside each number call it. Two labels are one too many: nothing is certain.

    Args:
        texts: the texts around the numbers.

    >>> labels_of(("epoch=", "-step=", "")), labels_of(("net_", "epoch_", "iter")), labels_of(("fold", ""))
    ([['epoch'], ['step']], [['epoch'], ['step']], [[]])
    """
    labels: list[list[Unit]] = [[] for _ in texts[1:]]
    ranks = any(map(_PARALLEL.fullmatch, texts[:-1]))
    for index, text in enumerate(texts):
        behind = _behind(texts, index) if index else None
        before = _before(text, first=not index) if index < len(labels) else None
        if behind and before and behind.end("word") > before.start("word"):  # one word between two numbers
            left, right = not behind.start("word"), before.end("word") == len(text)
            if left and right:
                labels[index - 1].append(_unit(behind))
                labels[index].append(_unit(before))
            elif left:
                before = None
            else:
                behind = None
        if behind:
            labels[index - 1].append(_unit(behind))
        if before:
            labels[index].append(_unit(before))
        if ranks:
            labels = [[] if _is_ep(texts, place) else found for place, found in enumerate(labels)]
        if text == "-ba" and index and texts[index - 1] == "ep":  # Composer's batches
            labels[index].append("step")
    return labels


def _behind(texts: Sequence[str], index: int) -> re.Match[str] | None:
    """Return the word behind a number, if nothing but words for a checkpoint is around both.

    `avg_last_5_epochs` and `2step_unet` are settings.
    """
    found = _BEHIND.match(texts[index])
    if found and found.span("word") == (0, len(texts[index])) and index < len(texts) - 1:
        return found  # one word between two numbers: of which it is said is not certain
    if found is None or not _REST.fullmatch(texts[index][found.end("word") :]):
        return None
    left = texts[index - 1].rpartition("/")[2]
    if index > 1 and (other := _BEHIND.match(left)) is not None:
        left = left[other.end("word") :]
    return found if re.fullmatch(rf"(?:rl_)?{_PLAIN}", left) else None


def _is_ep(texts: Sequence[str], place: int) -> bool:
    return re.fullmatch(r"(?:.*[^A-Za-z])?ep[-_=]?", texts[place], re.I | re.S) is not None


def _before(text: str, *, first: bool) -> re.Match[str] | None:
    """Return the word before a number.

    The plural counts only where no other word is before it: `warmup_steps_100` is a setting.
    """
    if (found := _BEFORE.fullmatch(text)) is not None:
        return None if _SET.fullmatch(text[: found.start("word")]) else found
    many = _BEFORE_MANY.fullmatch(text)
    return many if many and (first or "/" in text) and re.fullmatch(_PLAIN, many["plain"]) else None


def doubt_of(full: str, unit: Unit | None) -> str | None:
    """Return the word before the one that calls a number a step or an epoch, unless it is a harmless one.

    It may be the name of the run, or make a setting of the number.

    >>> doubt_of("inference_step_10.pt", "step"), doubt_of("model_step_10.pt", "step")
    ('inference', None)
    """
    texts = Name.of(full).texts
    for text, found in zip(texts, labels_of(texts), strict=False):
        word = _BEFORE.fullmatch(text) if found == [unit] else None
        before = text[: word.start("word")].rpartition("/")[2] if word else ""
        if re.fullmatch(_HARMLESS, before) is None:
            return before.strip("-_. =")
    return None


def _unit(found: re.Match[str]) -> Unit:
    return "epoch" if found["word"].lower().startswith("ep") else "step"


def is_plain(name: Name, place: int) -> bool:
    """Return whether nothing but words for a checkpoint is beside a number in the name of a file or folder.

    The folder around a checkpoint must be called one: `checkpoint_1/model.pt`, but not `1/model.pt`.

    >>> [is_plain(Name.of(name), 0) for name in ("model_12.pth", "resnet_12.pth", "ckpt-1/a.pt", "1/a.pt")]
    [True, False, True, False]
    """
    *above, left = name.texts[place].split("/")
    right, *below = name.texts[place + 1].split("/")
    last = not any("/" in text for text in name.texts[place + 1 :])
    alone = (above or place == 0) and (below or place + 1 == len(name.numbers))
    if not alone or name.units[place] or _SIGN.fullmatch(left):
        return False
    if not last:
        return not right and re.fullmatch(rf"(?i:{_MOMENTS}){_GAP}?", left) is not None
    return re.fullmatch(_PLAIN, left) is not None and re.fullmatch(rf"(?:{_GAP}{_PLAIN})?", right) is not None


def is_joined(texts: Sequence[str], place: int) -> bool:
    """Return whether a number may be more: it has a sign, or letters or another number follow it.

    >>> is_joined(("step_", "_", ""), 0), is_joined(("step_", "x"), 0), is_joined(("step_", "_seed", ""), 0)
    (True, True, False)
    >>> [is_joined(("step_", gap, ""), 0) for gap in (" ", "\N{NO-BREAK SPACE}", "\N{THIN SPACE}")]
    [True, True, True]
    """
    left, right = texts[place], texts[place + 1]
    if _SIGN.fullmatch(left) or (place and _ALONE.fullmatch(left)):
        return True
    if place + 2 < len(texts) and _ALONE.fullmatch(right):
        return True
    return right[:1].isalpha() and _BEHIND.match(right) is None


def is_labelled(full: str) -> bool:
    """Return whether a number in the name of a checkpoint is a step or an epoch without doubt.

    >>> is_labelled("step_1.pt"), is_labelled("model_1.pt"), is_labelled("resnet50.pth")
    (True, True, False)
    """
    name = Name.of(full)
    return any(labels_of(name.texts)) or any(is_plain(name, place) for place in range(len(name.numbers)))


def is_step_folder(name: str, *, alone: bool = False) -> bool:
    """Return whether a folder is called a step, an epoch or a checkpoint with a number.

    Args:
        name: the name of the folder.
        alone: require that it is called a step or an epoch, and nothing else.

    >>> is_step_folder("run-checkpoint-10"), is_step_folder("update_1", alone=True), is_step_folder("seed_1")
    (True, True, False)
    """
    return (_FOLDER if alone else _STEP).fullmatch(name) is not None


def is_count(name: Name, place: int) -> bool:
    """Return whether a number says how much data a checkpoint has seen, as OLMo and NeMo write it.

    >>> is_count(Name.of("step1000-tokens4B"), 1)
    True
    """
    return _COUNT.fullmatch(name.texts[place]) is not None


def is_score(names: Sequence[Name], place: int) -> bool:
    """Return whether a number measures the quality of a model: it is called so, and has a fraction.

    >>> is_score([Name.of("epoch=1-val_loss=0.2.ckpt")], 1), is_score([Name.of("acc=4-step=1.pt")], 0)
    (True, False)
    """
    named = all(_SCORE.fullmatch(name.before(place)) for name in names)
    return named and any(_VALUE.fullmatch(name.numbers[place]) for name in names)
