"""What a process computes with: devices, memory, other processes, clocks, caches.

Knows nothing of images, networks or trajectories.

Modules:
    devices: device names, and the choice of one.
    memory: free memory of a device, and which errors mean that it ran out.
    allocator: keeping freed memory instead of returning it.
    execution: the options that trade memory for time.
    usage: memory and share of the device in use.
    ranks: the processes that share a run.
    clock: seconds by part of an outer step.
    profiling: a trace of outer steps.
    capture: work recorded once and replayed: CUDA graphs.
    caches: where torch keeps what it compiles.
    determinism: deterministic algorithms on a GPU.
    seeds: generators from a seed and a purpose.
    tensorfile: one safetensors file with one JSON record.
"""
