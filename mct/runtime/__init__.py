"""Computing resources: devices, memory, processes, clocks, seeds and files.

This folder contains nothing about images, networks or trajectories.

Modules:
    devices: checking and describing torch devices.
    usercode: code of users, named as module:name.
    memory: the free memory of a device, and recognising errors that mean it is exhausted.
    allocator: keeping freed memory in the process instead of returning it to the system.
    execution: options that trade memory for time.
    usage: measuring peak memory and the utilisation of a device.
    launch: what a launcher such as torchrun tells a process.
    meeting: meeting the other processes of a run.
    interfaces: the network interface over which they reach one another.
    ranks: the processes that share a run.
    phases: naming work that takes long, such as compiling, for whoever shows progress.
    clock: measuring the time of the parts of an outer step.
    profiling: a profiler trace of a few outer steps.
    capture: recording GPU work as CUDA graphs.
    caches: the folder in which torch keeps compiled code.
    determinism: deterministic algorithms on a GPU.
    interruption: Ctrl-C and SIGTERM, held back while something must not be torn.
    seeds: random generators derived from a seed and a purpose.
    tensorfile: safetensors files with one JSON object as metadata, and atomic writes.
"""
