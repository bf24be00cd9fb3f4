"""Measurements at full width: a function for each `fcnxs benchmark WHAT`.

Begin with `worker.py`: what is compared runs in processes of its own, in turns. `material.py` makes the net and
the images. `train.py` measures training, `forward.py` evaluation and segmentation, `parity.py` conversion, and
`infer/` compares this project with other engines.

This room may import all of the library and `shared/`, but no command.
"""
