"""Sums of arrays over the devices of a machine and over machines, through MXNet's key-value store."""

from __future__ import annotations

import hashlib
import os
from typing import List, Sequence, Set

import numpy as np

from ..compat import mxnet as mx
from ..errors import FCNXSError
from ..launch import lifeline

# Key-value stores that leave the update to the worker, as dist_async does not.
KVSTORES = ("local", "device", "nccl", "dist_sync", "dist_device_sync")

DIGITS = 1 << 16


class Exchange:
    """Sums of arrays through a key-value store; each worker then updates its parameters itself.

    Args:
        kvstore: one of `KVSTORES`, or a store made already.

    Attributes:
        rank: number of this machine (process), from 0.
        workers: number of machines (processes).

    Raises:
        FCNXSError: the name is unknown, this MXNet was built without the store, or this process is not part
            of a job, which the stores dist_... need.
    """

    def __init__(self, kvstore: str | mx.kv.KVStore) -> None:
        if isinstance(kvstore, str):
            if kvstore not in KVSTORES:
                raise FCNXSError(f"kvstore {kvstore!r}: expected one of {', '.join(KVSTORES)}")
            if "dist" in kvstore and "DMLC_ROLE" not in os.environ:
                way_out = "fcnxs launch -n N -- fcnxs finetune ...; one process takes --kv-store local"
                raise FCNXSError(f"kvstore {kvstore}: needs several processes: {way_out}")
            try:
                kvstore = mx.kv.create(kvstore)
            except mx.MXNetError as error:
                what = str(error).strip().splitlines()[-1]
                raise FCNXSError(f"kvstore {kvstore!r}: this MXNet cannot make it: {what}") from None
        self.kv, self.rank, self.workers = kvstore, kvstore.rank, kvstore.num_workers
        if self.workers > 1:
            lifeline.tell_rank(self.rank)
        self._known: Set[str] = set()

    def sum(self, names: List[str], arrays: List[List[mx.nd.NDArray]]) -> None:
        """Replace each array by its sum over devices and machines.

        Every machine must make the same calls,
        with the same names in the same order.

        Args:
            names: names of the arrays.
            arrays: the arrays of each device, in the order of `names`; arrays of one name have the same shape.
        """
        for i, (name, of_devices) in enumerate(zip(names, map(list, zip(*arrays)))):
            key = f"{name} {of_devices[0].shape}"  # in a later stage's net its shape may be another
            if key not in self._known:
                self.kv.init(key, mx.nd.zeros(of_devices[0].shape))
                self._known.add(key)
            self.kv.push(key, of_devices, priority=-i)
            self.kv.pull(key, of_devices, priority=-i)
        if self.workers > 1:
            mx.nd.waitall()  # a push that overtakes the last pull mixes the steps, silently

    def totals(self, counts: np.ndarray) -> np.ndarray:
        """Sums over machines of whole numbers, float64 of any shape, exact up to 2^53 and 256 machines.

        The store adds in float32, which is exact up to 2^24, so it gets their digits in the base 2^16.
        """
        with np.errstate(invalid="ignore"):  # what is not finite stays so
            digits = np.stack([counts // DIGITS**k % DIGITS for k in range(4)])
        sums = mx.nd.array(digits, dtype=np.float32)
        self.sum(["totals"], [[sums]])
        return np.tensordot(float(DIGITS) ** np.arange(4), sums.asnumpy().astype(np.float64), 1)

    def same(self, text: str) -> bool:
        """Whether all machines call this with the same text."""
        own = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint16).astype(np.float32)
        total = mx.nd.array(own)
        self.sum(["same"], [[total]])
        return bool((total.asnumpy() == own * self.workers).all())

    def any(self, flag: bool) -> bool:
        """Whether any machine calls this with True; all machines must call it."""
        if self.workers == 1:
            return flag
        votes = mx.nd.array([flag])
        self.sum(["votes"], [[votes]])
        return bool(votes.asscalar())


def exchange_for(
    kvstore: str | mx.kv.KVStore | Exchange | None, devices: Sequence[mx.Context]
) -> Exchange | None:
    """Exchange for these devices; None for one device of one machine, which needs no sums.

    Args:
        kvstore: None is `device` for GPUs, which add their gradients themselves, in the order of the devices,
            as accumulating them on one does; and `local` for CPU devices. From three devices on, `local` adds
            in another order: the first to the sum of the next four, and so on.
    """
    if kvstore is None:
        kvstore = "device" if all(device.device_type == "gpu" for device in devices) else "local"
    if isinstance(kvstore, Exchange):
        return kvstore
    if isinstance(kvstore, str) and kvstore in KVSTORES and len(devices) == 1 and "dist" not in kvstore:
        return None
    return Exchange(kvstore)
