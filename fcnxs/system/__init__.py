"""Files, threads and memory: atomic writes, work done in advance by threads, available memory.

Begin with `files.py`; `json_files.py` reads JSON and checks its form; `threads.py` and `memory.py` stand alone.
Nothing here knows of nets or imports MXNet.

This room may import `errors` and `conventions`.
"""
