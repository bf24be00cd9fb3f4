"""Input files and progress display of `fcnxs segment`.

Begin with `inputs.py`, which finds the files that arguments name; `progress.py` is the bar and the summary.

This room may import `errors` and `shared/`, but no command.
"""
