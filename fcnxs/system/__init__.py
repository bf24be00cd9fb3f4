"""Files, threads and memory: atomic writes and their locks, work done in advance by threads, available memory.

Begin with `files.py` and its `locks.py`; `json_files.py` reads JSON and checks its form; the others stand alone.
Nothing here knows of nets or imports MXNet.

This room may import `errors` and `conventions`.
"""
