"""Hostile graphs, several to a process: none ends it, takes long or much memory, or gives a traceback.

2,000 of them: FCNXS_LONG=1 pytest -s tests/symbols/graph/test_trust_generated.py
"""

import json
import select
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import hostile_graphs
import hostile_sources
import pytest
from conftest import LONG

CHILD = Path(hostile_graphs.__file__).with_name("hostile_child.py")
EACH = 30  # graphs of a process
SECONDS, BYTES = 10, 10**9  # of a graph; seconds are the processor's, since tests run side by side


@pytest.fixture(scope="module")
def graphs():
    return hostile_sources.sources(int8=LONG)


def outcomes(texts):
    """What came of each graph: seconds, bytes and a word; also of one that ends the process."""
    command = [sys.executable, "-W", "ignore", str(CHILD)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        child.stdin.write("\n".join(texts) + "\n")
        child.stdin.close()
        while select.select([child.stdout], [], [], 20 * SECONDS)[0]:
            kind, _, *rest = (*child.stdout.readline().split(None, 4), "", "")
            if kind == "end":
                yield float(rest[0]), int(rest[1]), rest[2].strip()
            elif kind != "start":
                break
        else:
            child.kill()
        child.wait()
    if child.returncode:
        name = signal.Signals(-child.returncode).name if child.returncode < 0 else child.returncode
        yield 0.0, 0, f"died: {name}"


def used(texts):
    """Outcomes of all texts, in as many processes as it takes."""
    found = []
    while len(found) < len(texts):
        found += outcomes(texts[len(found) : len(found) + EACH])
    return found


def test_no_graph_ends_a_process_or_takes_long(graphs):
    seeds = range(2000 if LONG else 60)
    texts = [hostile_graphs.mutated(graphs, seed) for seed in seeds]
    counts, wrong = Counter(), []
    for seed, (seconds, size, what) in zip(seeds, used(texts)):
        counts[what.split(":")[0]] += 1
        if what.startswith(("died", "traceback")) or seconds > SECONDS or size > BYTES:
            wrong.append(f"seed {seed}: {what}, {seconds} s, {size / 1e9:.2f} GB")
    print(f"\n{dict(counts)}")
    assert not wrong, "\n".join(wrong)
    assert counts["run"] >= len(seeds) // 20 and counts["refused"] >= len(seeds) // 4, counts


def test_the_graphs_that_are_changed_run_as_they_are(graphs):
    """Else the test above would only show that everything is refused."""
    whole = [
        graph
        for graph in graphs
        if not any("param" in node or node["op"] == "amp_cast" for node in graph["nodes"])
    ]
    found = used([json.dumps(graph) for graph in whole[:: 1 if LONG else 5]])
    assert {what for *_, what in found} == {"run"}, found


def test_a_process_that_dies_is_noticed(monkeypatch, tmp_path):
    """With a child that ends itself at the second graph."""
    script = tmp_path / "child.py"
    script.write_text("import os\nprint('end', 0, 0.1, 5, 'run', flush=True)\nos.abort()")
    monkeypatch.setattr(sys.modules[__name__], "CHILD", script)
    assert list(outcomes(["a", "b"])) == [(0.1, 5, "run"), (0.0, 0, "died: SIGABRT")]
