"""The tables and figures of the MCT paper as plans of jobs, at several scales.

    experiments  ->  jobs  ->  pool  ->  what each job found  ->  tables and figures

This folder defines which runs are behind each number of the paper, and how they are compared with it. It is
above all other folders of mct, which must not import it.

Modules:
    published: the numbers of the paper.
    scale: what a scale states: data sets, and the sizes of experts, runs and evaluations.
    scales: the scales by name.
    job: a job, its identity, its folder, and what it found.
    arms: the jobs behind one number: images, experts, bundle, distillation and test.
    place: the folder and the device of a reproduction, where jobs read what other jobs wrote.
    measuring: jobs that measure.
    work: every kind of job.
    pool: jobs in order, several at a time.
    cost: hours and bytes of a plan, from a few timed steps.
    table: a table beside the published one, with paired contrasts.
    experiment: what an experiment is.
    table1: every method.
    table2: continuous and discrete sampling.
    table3: the number of timesteps M from start to target.
    figures: figures 1 to 5.
    run: a reproduction: plan, jobs, tables and figures in a folder.
"""

from mct.reproduce.run import EXPERIMENTS, Reproduction
from mct.reproduce.scale import DataSize, Scale
from mct.reproduce.scales import SCALES

__all__ = ["EXPERIMENTS", "SCALES", "DataSize", "Reproduction", "Scale"]
