"""The outer loop: one step, its state, its files.

Modules:
    run: a whole distillation: settings, bundle, dataset, folder, outer loop, and the test of its result.
    stepper: the protocol `Stepper`: what the outer loop needs of a method.
    remarks: notes on experts that were trained in another way than the method asks for.
    stages: the earlier stages of a run, read from the result that the user names.
    settling: dataset, model, settings and method of a run.
    distiller: one outer step, a pure function from state to state.
    engine: the inner loop of a run, and how many activations it keeps.
    judging: the evaluations of a run, and its best images.
    loop: outer steps with evaluations and files.
    condenser: one outer step of a method that needs no trajectories.
    samples: the samples of one outer step, and their mean gradient.
    label_times: the timestep of the expert that gives teacher labels.
    optimizer: the updates of everything that is learned.
    state: everything from which a run continues.
    guards: checks that end a run, or keep one from starting.
    folder: the files of one run.
"""
