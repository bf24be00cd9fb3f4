"""Nets for deployment, in the forms of `fcnxs export`, each compared with its checkpoint in a fresh process.

Begin with `write.py`. `form.py` says what a form is; `precision.py` and `halves.py` lower the precision,
`onnx_file.py` and `mar.py` write ONNX files and a server's archives, `compare.py` runs the written files.
`handler.py` answers a server's requests; the `plain_*.py` load an export without this project.

This room may import `predict`, `data` and what is below them; not `finetune`.
"""
