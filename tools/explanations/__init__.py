"""The texts, tables and pictures of `fcnxs explain`.

Begin with `answers.py`, which answers questions about a net and its design with numbers. `tables.py` prints the
layers and the offsets of the crops, `draw.py` draws the net. `page.py` writes the page on which a net can be
changed; its scripts are `net.js`, the arithmetic, `draw.js` and `page.js`.

This room may import `symbols` and `shared/`, but no command.
"""
