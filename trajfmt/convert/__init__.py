"""Convert a source into a bundle, or plan a conversion without writing anything.

Modules:
    run: `convert`: the order of work, skipped trajectories, progress.
    planning: `plan`: what a conversion would write.
    options: the options of a conversion.
    intake: the pass over a source that `convert` and `plan` share.
    identify: network, parameter names, data set and preprocessing of a source.
    convexified: what is asked and said of a source that is convexified already.
    precedence: which of two statements about the experts is used.
    choices: what a conversion has chosen of the path, as facts of the recipe.
    placing: knots that are placed where they miss the paths of the source least.
    selection: a range of timesteps of a trajectory, as a trajectory of its own.
    destination: the bundle of a conversion, which continues from an interrupted run.
    compatibility: checks before a source is appended to an existing bundle.
    hashing: hashes of the source files, and a check that the files do not change meanwhile.
    events: progress reports of a running conversion.
"""

from trajfmt.convert.events import Event
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.planning import Plan, PlannedFile, plan
from trajfmt.convert.run import convert

__all__ = [
    "ConvertOptions",
    "Event",
    "Plan",
    "PlannedFile",
    "convert",
    "plan",
]
