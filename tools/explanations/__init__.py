"""What `fcnxs explain` says of a net.

Begin with `answers.py`, questions that a net's user has, with the numbers that answer them; `reasons.py` says
why. `layer_tables.py` prints the layers, `derivations.py` the crop offsets, and `draw.py` draws the net.

This room may import `symbols` and `shared/`, but no command.
"""
