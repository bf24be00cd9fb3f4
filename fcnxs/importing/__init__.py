"""Data in the forms in which people have it, written as the plain layout: images/, labels/, classes.txt.

Begin with `job.py`, one import, and `found.py`, what the reader of a format gives. `formats.py` is the table of
formats, each of which has a file of its own. `selection.py` chooses classes, `splits.py` sets images aside,
`write.py` writes the result, and `account.py` counts everything that was changed or left out.

This room may import `data` and what `data` may import.
"""
