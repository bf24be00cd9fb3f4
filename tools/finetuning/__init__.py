"""What `fcnxs finetune` does before and around the training itself.

Begin with `stage_options.py`, which turns options into stages. `run_options.py` keeps options for a resumed
run, `data_report.py` goes through the data before a run begins.

This room may import all of the library and `shared/`, but no command.
"""
