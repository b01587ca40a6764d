"""Reports of distillation runs: their facts as plain data, and as one self-contained page.

It reads the folder of a run, and no real images. It must not import `distillation` or `evaluation`.

Modules:
    curves: a quantity over the outer steps of a run, thinned to the points that a chart can show.
    origins: where the value of each setting is from.
    pictures: the images of a run as small PNG, class by class.
    run: the facts of a run.
    sections: the sections of one run.
    classes: the section with the accuracy of every class.
    comparison: the section that compares several runs.
    page: the page of one run or of several.
"""
