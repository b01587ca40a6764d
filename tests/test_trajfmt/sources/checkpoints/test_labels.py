"""The closed lists of what a number in a name may be: which names are read, and which are refused."""

from __future__ import annotations

import re

import pytest

from trajfmt.errors import SourceError
from trajfmt.sources.checkpoints.labels import doubt_of, is_score
from trajfmt.sources.checkpoints.names import Name
from trajfmt.sources.checkpoints.numbering import numbers_of

ACCEPTED = {
    # a word before the number
    "step_#.pt": "step",
    "step=#.ckpt": "step",
    "global_step#": "step",
    "globalStep#.pt": "step",
    "resnet18_step_#.pth": "step",
    "modelStep#.pt": "step",
    "netEpoch#.pt": "epoch",
    "MODEL_STEP_#.pt": "step",
    "training_step-#.pt": "step",
    "iter_000#.pth": "step",
    "net-iteration-#.pt": "step",
    "update#.pt": "step",
    "steps_#.pt": "step",
    "model_steps#.pt": "step",
    "epoch=#.ckpt": "epoch",
    "epoch_#.pth": "epoch",
    "gpt2-ep#.pt": "epoch",
    "seed_3_epoch_#_rank_0.pt": "epoch",
    "best_epoch_#.pth": "epoch",
    "step_#k.pt": "step",
    "resnet_50_epoch_#.pt": "epoch",
    # a word behind it
    "#steps.pt": "step",
    "net_#epochs.pt": "epoch",
    "rl_model_#_steps.pth": "step",
    "net_#epoch_100iter.pt": "epoch",
    "net_1epoch_#iter.pt": "step",
    "#step_final.pt": "step",
    # a word for a checkpoint or the name of a run before the word
    "netG_epoch_#.pth": "epoch",
    "myrun-step=#.ckpt": "step",
    "train_step_#.pt": "step",
    "mnist_cnn_epoch#.pt": "epoch",
    "checkpoint_epoch_#.pt": "epoch",
    # the data that the checkpoint has seen rises with the step
    "step#-tokens#B": "step",
    "gpt--val_loss=10.5-step=#-consumed_samples=#.ckpt": "step",
    "gpt--val_loss=#.5-step=#-consumed_samples=#.0.ckpt": "step",
    # nothing but words for a checkpoint beside it
    "#.pt": None,
    "000#.pth": None,
    "model_#.pth": None,
    "ckpt_00#.safetensors": None,
    "checkpoint#.pt": None,
    "checkpoint-#.pth.tar": None,
    "model.ckpt-#": None,
    "modelCheckpoint#.pt": None,
    "net.#.pth.tar": None,
    "network-snapshot-#.pt": None,
    "state_dict_#.pt": None,
    "model_#_weights.pt": None,
    "#_params.pt": None,
    "saved_model_#.pt": None,
    "chkpnt#.pth": None,
    "w#.pt": None,
    "theta_#.pt": None,
    # folders
    "checkpoint-#": "step",
    "checkpoint_#/model_1.safetensors": None,
    "epoch_#/weights.pt": "epoch",
    "iter_#/mp_rank_00/model_optim_rng.pt": "step",
    "fold1/checkpoint-#/model.safetensors": None,
    "#": None,
}
"""The form of names, with `#` for the number, and the unit of the number."""

REFUSED = {
    # a model, or a part of it
    "gpt2_#.pt": "gpt2_{step}.pt",
    "resnet18_#.pth": "resnet18_{step}.pth",
    "z#.pt": "z{step}.pt",
    "h#.pt": "h{step}.pt",
    "deep#.pt": "deep{step}.pt",
    "expert_ckpt_#.pt": "expert_ckpt_{step}.pt",
    "modelFold#.pt": "modelFold{step}.pt",
    "netSeed#.pt": "netSeed{step}.pt",
    "#seed.pt": "{step}seed.pt",
    "#-fold.pt": "{step}-fold.pt",
    "#th_fold.pt": "{step}th_fold.pt",
    "model_#th.pt": "model_{step}th.pt",
    "kfold#.pt": "kfold{step}.pt",
    "user_#.pt": "user_{step}.pt",
    "client_#.pt": "client_{step}.pt",
    "model_ipc#.pt": "model_ipc{step}.pt",
    "lora_r#.pt": "lora_r{step}.pt",
    "model#-mp4.safetensors": "model{step}-mp4.safetensors",
    "best_model_#.pt": "best_model_{step}.pt",
    "final_#.pt": "final_{step}.pt",
    "ckpt_#_of_40.pt": "ckpt_{step}_of_40.pt",
    "model (#).pt": "model ({step}).pt",
    "n#_step_100.pt": "n{step}_step_100.pt",
    "step_100 (#).pt": "step_100 ({step}).pt",
    "#_net_G.pth": "{step}_net_G.pth",
    "#model.pt": "{step}model.pt",
    "model_#M.pt": "model_{step}M.pt",
    "model_v2_#.pt": "model_v2_{step}.pt",
    # scores and settings
    "net_acc#.pt": "net_acc{step}.pt",
    "loss=#.pt": "loss={step}.pt",
    "dncnn_sigma#.pth": "dncnn_sigma{step}.pth",
    "warmup_steps_#.pt": "warmup_steps_{step}.pt",
    "stepsize#.pt": "stepsize{step}.pt",
    "n_step_#.pt": "n_step_{step}.pt",
    "td3_n_step_#.pt": "td3_n_step_{step}.pt",
    "warmup_step_#.pt": "warmup_step_{step}.pt",
    "warmupStep#.pt": "warmupStep{step}.pt",
    "max_epoch_#.pt": "max_epoch_{step}.pt",
    "net-num_epoch=#.pt": "net-num_epoch={step}.pt",
    "avg_last_#_epochs.pt": "avg_last_{step}_epochs.pt",
    "sdxl_lightning_#step_unet.pt": "sdxl_lightning_{step}step_unet.pt",
    "#step_unet.pt": "{step}step_unet.pt",
    "resnet18_#epochs.pt": "resnet18_{epoch}epochs.pt",
    "resnet_#epochs.pt": "resnet_{step}epochs.pt",
    "bs=32-acc=#-step=#.pt": "bs=32-acc=*-step={step}.pt",
    "net_step100_#.pt": "net_step100_{step}.pt",
    # one word or number that may belong to two
    "step_#_500.pt": "step_{step}_500.pt",
    "step_#,000.pt": "step_{step},000.pt",
    "step_10_#.pt": "step_10_{step}.pt",
    "10_#_steps.pt": "10_{step}_steps.pt",
    "step_#x.pt": "step_{step}x.pt",
    "model_-#.pt": "model_-{step}.pt",
    "net_-#steps.pt": "net_-{step}steps.pt",
    "epoch_#of90.pt": "epoch_{epoch}of90.pt",
    "step#epoch3.pt": "step{step}epoch3.pt",
    "resnet18Step#.pt": "resnet18Step{step}.pt",
    "1_epoch_#_iter.pt": "1_epoch_{step}_iter.pt",
    # the folders of models
    "model#/final_10.pt": "model{step}/final_10.pt",
    "net_#/checkpoint.pt": "net_{step}/checkpoint.pt",
    "#/final.pt": "{step}/final.pt",
    "seed_#/step_100.pt": "seed_{step}/step_100.pt",
    "checkpoint_#/step_100.pt": "checkpoint_{step}/step_100.pt",
    # several numbers
    "net-0.#-step1#.pt": "net-*-step{step}.pt",
    "interval=1.#-step=#.ckpt": "interval=*-step={step}.ckpt",
    "epoch=#-map=#.ckpt": "epoch={epoch}-map=*.ckpt",
    "aux_loss_0.#_step_#.pt": "aux_loss_*_step_{step}.pt",
    "acc_#_step_#.pt": "acc_*_step_{step}.pt",
    "00-epoch#-0.#.pt": "00-epoch{epoch}-*.pt",
    "step_#_iter_#.pt": "step_{step}_iter_*.pt",
    "run#/checkpoint-#": "run*/checkpoint-{step}",
    "a{b}_#_[c].pt": "a[{]b}_{step}_[[]c].pt",
}
"""The form of names that are refused, and the option that states what the number is."""

PARTS = (
    "model_tp#.pt",
    "consolidated.0#.pth",
    "step_5_rank_#.pt",
    "model-000#-of-00012.bin",
    "step_1_mp#.pt",
    "tp0_ep#.pt",
)
"""The form of names of parts of one model, for which no pattern is shown."""

SCORES = {
    "epoch=1-val_loss=0.32.ckpt": True,
    "epoch=1-loss=1e-05.ckpt": True,
    "epoch=1-acc=91.ckpt": False,
    "epoch_1_acc_0.93.pt": True,
    "epoch=1-val_f1=0.5.ckpt": True,
    "epoch=1-val_top5_acc=0.5.ckpt": True,
    "epoch=1-reward=-2.5.ckpt": True,
    "epoch_1_acc_93.pt": False,
    "epoch=1-interval=1.5.ckpt": False,
    "epoch=1-lr=0.1.ckpt": False,
    "epoch=1-aux_loss=0.1.ckpt": False,
    "epoch=1-fold=2.ckpt": False,
}
"""Names, and whether their last number is a score."""


@pytest.mark.parametrize(("form", "unit"), ACCEPTED.items())
def test_numbers_that_are_certain(form: str, unit: str | None) -> None:
    """The number that varies is read, and its unit where a word says it."""
    found = numbers_of([form.replace("#", number) for number in ("8", "12")], "here")
    factor = 1000 if "#k" in form else 1
    assert (found.numbers, found.unit) == ((8 * factor, 12 * factor), unit)


@pytest.mark.parametrize(("form", "option"), REFUSED.items())
def test_numbers_that_are_not(form: str, option: str) -> None:
    """One line names two checkpoints, and the option with which the user says that it is the step."""
    with pytest.raises(SourceError) as caught:
        numbers_of([form.replace("#", number) for number in ("8", "12")], "here")
    (line,) = str(caught.value).splitlines()
    assert f"{form.replace('#', '8')} and {form.replace('#', '12')} differ in" in line
    assert re.findall("--select '([^']+)'", line) == [option]


@pytest.mark.parametrize(
    "names",
    [
        ["checkpoint_256_256.pt", "checkpoint_512_512.pt"],
        ["checkpoint_20240103_101000.pt", "checkpoint_20240103_111500.pt"],
        ["checkpoint_256_500.pt", "checkpoint_512_1000.pt"],
        ["checkpoint_2_500.pt", "checkpoint_1_1000.pt"],
        ["step1-tokens8B", "step2-tokens4B"],
    ],
)
def test_forms_of_programs_are_read_only_if_their_numbers_fit(names: list[str]) -> None:
    """Sizes, dates and settings are no epochs of fairseq, and the data seen never falls."""
    with pytest.raises(SourceError, match="differ in"):
        numbers_of(names, "here")


@pytest.mark.parametrize("form", PARTS)
def test_no_pattern_is_shown_for_parts(form: str) -> None:
    """It would select one of them."""
    with pytest.raises(SourceError, match="parts of the weights, by their names") as caught:
        numbers_of([form.replace("#", number) for number in ("8", "12")], "here")
    assert "--select" not in str(caught.value)


@pytest.mark.parametrize(("name", "score"), SCORES.items())
def test_scores_are_of_a_closed_list(name: str, score: bool) -> None:
    """They may differ beside the step, and nothing else may."""
    parsed = Name.of(name)
    assert is_score([parsed], len(parsed.numbers) - 1) is score


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("inference_step_10.pt", "inference"),
        ("num_train_epoch_4.pt", "num_train"),
        ("sinkhorn-iter-4.pt", "sinkhorn"),
        ("run1/local_epoch_4.pt", "local"),
        ("epoch=3-cooldown_step=4.ckpt", "cooldown"),
        ("gpt2_step_4.pt", None),
        ("epoch=3-step=4.ckpt", None),
        ("checkpoint_step_4/model.pt", None),
        ("train_global_step_4.pt", None),
        ("modelStep4.pt", None),
        ("best_epoch_4.pt", None),
        ("sinkhorn/step_4.pt", None),
    ],
)
def test_a_word_that_may_make_a_setting_of_a_number(name: str, word: str | None) -> None:
    """Any but the words for a checkpoint, directly before the word for a step or an epoch."""
    assert doubt_of(name, "step" if "epoch_" not in name else "epoch") == word
