"""Files as strangers could have made them, by the hundred, for every reader.

`material.py` makes sound files once; `mutations.py` changes them, with checksums that stay valid; `readers.py`
has a row for each reader; `child.py` reads many in one process, within limits of memory and time.
"""
