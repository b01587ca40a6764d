"""What the commands do when the system fails them, when they are killed, and when others read and write.

Programs, each with one command and a printed figure (RECORDS.md has what they printed):
    faults: every system call fails, in every way; kills before and after each call; disks that are too small.
    kills: kill -9 at random moments.
    histories: seeded histories of writers, readers, kills, locks and a bad web server.
    readers: many readers during appends.
    mutations: changed bundles and sources, in `mutated`.
    covered, mutants: coverage and mutation testing of the reader and the writer, in `core`.
    releases: every released version reads the bundles that are kept for ever.

Modules:
    shim.c: the preloaded library that makes system calls fail, and counts what is not durable.
    processes: a forked process under this library, and how it ended.
    server: a process that forks a command for each trial of `faults` and `kills`.
    commands, distilling: the commands that are tried, and their inputs.
    web: a web server that can be bad.
    model: what should be there.
    stage, history: the processes of one history, and its steps.
    looking: readers that report what they saw.
    plants: faults of the library that `histories` and `readers` must find.
"""
