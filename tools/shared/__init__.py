"""What several commands share.

Begin with `options.py` and `data_options.py`. `inputs.py` finds images that arguments name, `text.py` prints
tables, `progress.py` shows training on the terminal, `signals.py` and `streams.py` end
a command.

This room may import all of the library, but no command.
"""
