"""`explain` of large graphs takes time and memory in proportion to their nodes."""

import json
import resource
import time

import pytest
from conftest import LONG

from fcnxs.tools.main import main

NODES = 20_000 if LONG else 1_000
SECONDS, BYTES = (120, 10**9) if LONG else (10, 10**9)  # of the processor; 1,000 relus took 40 s


def relus(i, x):
    yield "Activation", [x], {"act_type": "relu"}


def sums(i, x):
    yield "elemwise_add", [x, max(0, x - 1)], {}


def pools(i, x):
    """Down and up again: sizes and maps with quotients within one another."""
    yield "Pooling", [x], {"kernel": "(3, 3)", "stride": "(2, 2)", "pool_type": "max", "pad": "(1, 1)"}
    yield "UpSampling", [x + 1], {"scale": "2", "sample_type": "nearest", "num_args": "1"}


def crops(i, x):
    yield "Pooling", [x], {"kernel": "(3, 3)", "pool_type": "max", "pad": "(2, 2)"}
    yield "Crop", [x + 1, x], {"num_args": "2", "offset": "(1, 1)"}


@pytest.mark.parametrize("kind", [relus, sums, pools, crops])
def test_a_long_chain_is_explained_in_little_time(kind, tmp_path, capsys):
    nodes = [{"op": "null", "name": "data", "inputs": []}]
    while len(nodes) < NODES - 2:
        for op, inputs, attrs in kind(len(nodes), len(nodes) - 1):
            entries = [[i, 0, 0] for i in inputs]
            nodes.append({"op": op, "name": f"layer{len(nodes)}", "inputs": entries, "attrs": attrs})
    file = tmp_path / "chain-symbol.json"
    file.write_text(json.dumps({"nodes": nodes, "heads": [[len(nodes) - 1, 0, 0]], "arg_nodes": [0]}))
    begin = time.process_time()
    assert main(["explain", str(file), "--image-size", "50x40"]) in (0, 1)
    assert f"{len(nodes) - 1} layers, 0 parameters" in capsys.readouterr().out
    assert time.process_time() - begin < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < 2 * BYTES
