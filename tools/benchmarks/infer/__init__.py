"""`fcnxs benchmark infer`: one image through this project and through other engines, in every precision.

Begin with `measure.py`, which starts the processes. `engines.py` is the table of engines, `process.py` the
process of one; `ours.py` makes those that run in MXNet and writes the files of all, `peers.py` makes the
others. `results.py` holds the measurements and shows them.

This room may import all of the library, `shared/` and the modules beside its folder.
"""
