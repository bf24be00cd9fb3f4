"""Export nets for deployment, as `fcnxs export` does, and compare each export with its checkpoint.

Begin with `write.py`. `form.py` describes input, output, size and precision of an export. `precision.py`
lowers the precision; `onnx_file.py`, `ncnn_file.py` (by `ncnn_layers.py`) and `mar.py` write ONNX files, ncnn's
files and a server's archives. `compare.py` runs the written files in a fresh process, by the scripts
`plain_*.py`, which do not import this package. `handler.py` answers a server's requests.

This room may import `predict`, `data` and what is below them; not `finetune`.
"""
