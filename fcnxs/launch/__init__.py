"""A job of several processes, on one machine or several, over MXNet's parameter server.

Begin with `job.py`, which watches the processes. `dmlc.py` starts them through the dmlc_tracker of MXNet's
wheel; `lifeline.py` is the connection through which each process learns that another one has died or frozen.

This room may import `compat`, `errors`, `conventions`, `symbols` and `system` alone.
"""
