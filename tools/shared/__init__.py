"""What several commands share.

Begin with `options.py` and `data_options.py`. `inputs.py` finds images that arguments name, `text.py` prints
tables, `progress.py` shows training on the terminal, `signals.py` ends a command on a signal, `streams.py` its output.

This room may import all of the library, but no command.
"""
