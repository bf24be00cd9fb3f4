"""The parts of `fcnxs finetune` that prepare the training: options and data.

Begin with `stage_options.py`, which turns options into stages; `run_options.py` restores those of a resumed
run; `data_report.py` checks the data and makes the loaders.

This room may import all of the library and `shared/`, but no command.
"""
