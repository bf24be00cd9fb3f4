"""What several commands share.

`options.py` and `data_options.py` are options, `text.py` tables, `progress.py` the terminal's view of training,
`signals.py` how a signal ends a command.

This room may import all of the library, but no command.
"""
