"""Measurements at full width, each a module for `fcnxs benchmark WHAT`.

Begin with `worker.py`: what is compared runs in processes of its own, in turns. `infer/` compares this project
with other engines; the other modules are one measurement each.

This room may import all of the library and `shared/`, but no command.
"""
