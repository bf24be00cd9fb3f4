"""What `fcnxs segment` reads, and what it shows while it works.

Begin with `inputs.py`, which finds the files that arguments name; `progress.py` is the bar and the summary.

This room may import `errors` and `shared/`, but no command.
"""
