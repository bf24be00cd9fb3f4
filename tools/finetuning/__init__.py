"""The parts of `fcnxs finetune` around the training: options, data, and what is shown and logged.

Begin with `stage_options.py`, which turns options into stages; `run_options.py` restores those of a resumed
run; `data_report.py` checks the data and makes the loaders; `listeners.py` shows and logs the training.

This room may import all of the library and `shared/`, but no command.
"""
