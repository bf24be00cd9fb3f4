"""The authors' names of layers, of their first release (2014 and 2015) and of the second, and ours."""

from __future__ import annotations

import re

# Of the second release, shelhamer/fcn.berkeleyvision.org.
SECOND = {
    **{"score_fr": "score", "upscore2": "score2", "upscore_pool4": "score4"},
    **dict.fromkeys(("upscore", "upscore16", "upscore8"), "bigscore"),
}
# Of the first, for longjon/caffe's branch `future`; its PASCAL-Context nets have score59.
FIRST = {
    **{"score-fr": "score", "score59": "score", "score-pool4": "score_pool4", "score-pool3": "score_pool3"},
    "upsample": "bigscore",
}
FUSED = "upsample-fused-16"  # the last upsampling of a net of the first release, or that before it
CAFFE_NAMES = {**SECOND, **FIRST}

# What ends the names of layers of several heads on one trunk, and of several trunks.
HEADS = {f"siftflow_fcn{stride}s": ("sem", "geo") for stride in (32, 16, 8)}
MODALITIES = {"nyud_fcn32s_color_hha": ("color", "hha")}
ENDS = re.compile(rf"({'|'.join(SECOND)})(_sem|_geo|color|hha)")


def name_here(layer: str, kernel: int = 0) -> str:
    """Our name of a layer of Caffe's; layers with other names keep them.

    >>> name_here("score_fr"), name_here("upscore_pool4_geo"), name_here("score-pool4")
    ('score', 'score4_geo', 'score_pool4')

    Args:
        kernel: rows of its kernel, which tell what `upsample-fused-16` is: 4 in FCN-8s, 32 in FCN-16s.
    """
    if layer == FUSED:
        return "score4" if kernel == 4 else "bigscore"
    match = ENDS.fullmatch(layer)
    return CAFFE_NAMES[match[1]] + match[2] if match else CAFFE_NAMES.get(layer, layer)


def suffixes(net: str) -> tuple[str, ...]:
    """What ends the names of a net's heads: _sem and _geo, or nothing."""
    return tuple(f"_{head}" for head in HEADS.get(net, ())) or ("",)
