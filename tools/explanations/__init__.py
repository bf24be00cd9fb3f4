"""The texts, tables and pictures of `fcnxs explain`.

Begin with `answers.py`, which answers questions about a net and its design with numbers. `tables.py` prints the
layers and the offsets of the crops, `draw.py` draws the net.

This room may import `symbols` and `shared/`, but no command.
"""
