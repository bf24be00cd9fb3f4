"""`fcnxs benchmark infer`: one image through this project and through other engines, in every precision.

Begin with `measure.py`, which starts the processes. `engines.py` is the table of engines, `process.py` the
process of one; `ours.py` and `peers.py` make them, `prepare.py` writes their files. `results.py` holds the
measurements, `output.py` and `chart.py` show them; `machine.py` and `operations.py` count arithmetic.

This room may import all of the library, `shared/` and the modules beside its folder.
"""
