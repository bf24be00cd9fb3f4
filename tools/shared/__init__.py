"""What several commands share.

Begin with `options.py` and `data_options.py`. `text.py` prints tables, `progress.py` shows training on the
terminal, `signals.py` ends a command on a signal.

This room may import all of the library, but no command.
"""
