"""Figures of bundles, and what all figures share: their style, their files, and their numbers as CSV.

Figures are drawn with matplotlib, which the optional extra `plot` installs. It is imported when a figure is
drawn. This folder must not import `sources`, `convert`, `serve`, `torch` or `export`.

Modules:
    table: the numbers of a figure, as CSV.
    plot: the protocol `Plot` of what can be drawn and listed.
    figures: the size, the style and the encoding of a figure.
    words: what a bundle says of itself, in the words of a figure.
    plane: the path of a trajectory in the plane of two principal components, from the Gram matrix.
    betas: the betas of every layer over the timesteps.
    storage: the size of bundles beside that of every timestep.
"""

from trajfmt.plots.figures import COLOURS, FORMATS, Page, bars, legend, literal, render, require, style
from trajfmt.plots.plot import Plot
from trajfmt.plots.storage import Size, Storage
from trajfmt.plots.table import Table
from trajfmt.plots.words import labels, timestep_axis

__all__ = [
    "COLOURS",
    "FORMATS",
    "Page",
    "Plot",
    "Size",
    "Storage",
    "Table",
    "bars",
    "labels",
    "legend",
    "literal",
    "render",
    "require",
    "style",
    "timestep_axis",
]
