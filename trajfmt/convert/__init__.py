"""From a source to a bundle: `convert`, and `plan` for a look beforehand.

Modules:
    run: the conversion: order of work, what is skipped, progress.
    planning: what a conversion would write.
    options: what a conversion is asked to do.
    intake: the pass over a source that `convert` and `plan` share.
    identify: network, parameter names, dataset and preprocessing of a source.
    selection: which timesteps of a source's trajectory are taken.
    destination: the bundle that is written: started late, continued after an interruption.
    compatibility: whether a source may be added to an existing bundle.
    hashing: hashes of the source's files, and that they do not change meanwhile.
    events: what a conversion reports while it runs.
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
