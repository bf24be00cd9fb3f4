"""Files, threads and memory: atomic writes and locks, work done in advance by threads, free memory.

Begin with `files.py` and its `locks.py`; `json_files.py` reads JSON and checks its form; others stand alone.
Nothing here knows of nets or imports MXNet.

This room may import `errors` and `conventions`.
"""
