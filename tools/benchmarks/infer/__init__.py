"""`fcnxs benchmark infer`: one image through this project and through other engines, in every precision.

Begin with `measure.py`, which starts the processes. `engines.py` is the table of engines, `process.py` the
process of one of them; `ours.py` and `peers.py` make them, `prepare.py` the files that they share. `results.py`
holds what was measured, `output.py` and `chart.py` show it; `machine.py` and `operations.py` tell how fast the
processor could be.

This room may import all of the library, `shared/` and the worker beside it.
"""
