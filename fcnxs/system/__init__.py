"""The system under the project: files that are written whole or not at all, threads that work ahead, memory.

Begin with `files.py`; `threads.py` and `memory.py` stand alone. Nothing here knows of nets or imports MXNet.

This room may import `errors` and `conventions`.
"""
