"""`fcnxs benchmark gpu`: everything that we need to know of a GPU, in one file, from somebody who has one.

Begin with `check.py`: the table of steps, and the file; each step is a process of its own with a limit of time
(`steps.py`). `parts.py` has what these processes do in MXNet, `runs.py` the one that calls commands, and
`numpy_reference.py` the exact training step.

This room may import all of the library, the rooms of `benchmarks/` and `shared/`, but no command.
"""
