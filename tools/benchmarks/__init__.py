"""Measurements at full width, a module each for `fcnxs benchmark WHAT`.

Begin with `worker.py`: what is compared runs in processes of its own, in turns. `material.py` makes the net and
the images. `infer/` compares this project with other engines.

This room may import all of the library and `shared/`, but no command.
"""
