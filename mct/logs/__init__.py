"""Logs of a distillation for other tools: TensorBoard, Weights & Biases, Trackio, and a CSV file.

The record of a run is `metrics.jsonl` in its folder, which `mct.distillation` writes. Logs are copies of it,
in the form of a tool, so a log that fails never stops a run. This folder must not import `mct.distillation`.

Modules:
    logger: the protocol of a logger.
    series: the names of the series, and their values from an event.
    csvfile: a CSV file with a row for each step.
    tensorboard: event files for TensorBoard.
    wandb: a run of Weights & Biases.
    trackio: a run of Trackio.
    log: the loggers by name, and all loggers of a run together.
"""
