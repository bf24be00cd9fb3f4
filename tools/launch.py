"""Run a command as a job of several processes, with MXNet's parameter server: on this machine, or on many.

Starts the workers, which train, the servers, which sum gradients, and the scheduler, all with the same command,
through the dmlc_tracker of MXNet's wheel. If one of them dies, or gives no sign of life for 60 s, the job ends
everywhere. A signal is passed on to the workers, which write a checkpoint and end. Exit code: that of the first
process that failed.

The workers of a local job divide the GPUs that `finetune --device` names, in order: of two workers and --device
gpu:0,1,2,3 the first has 0 and 1. On a cluster each worker uses all of them, so start one on each machine.

Examples:
    fcnxs launch -n 2 -s 1 -- fcnxs finetune --kv-store dist_sync --data VOC2012 ...
    fcnxs launch -n 2 -- fcnxs finetune --kv-store dist_sync --device gpu:0,1 --data VOC2012 ...
    fcnxs launch -n 8 -s 4 --cluster ssh --host-file hosts -- .venv/bin/fcnxs finetune ...
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
from typing import Dict, List, Mapping

from ..errors import FCNXSError
from ..launch import dmlc, job
from .shared import options
from .shared.printing import say

# Options that are passed on to dmlc_tracker: name -> settings of argparse.
TRACKER: Dict[str, dict] = {
    "host-file": {"metavar": "FILE", "help": "ssh, mpi: file with the machines, one a line"},
    "host-ip": {"metavar": "IP", "help": "address at which the others find this machine (default: found)"},
    "sync-dst-dir": {
        "metavar": "DIR",
        "help": "ssh: copy the current folder to this one on each machine first",
    },
    "jobname": {"metavar": "NAME", "help": "sge, yarn, kubernetes: name of the job"},
    "queue": {"metavar": "NAME", "help": "sge, yarn: queue of the job"},
    "worker-cores": {"type": int, "metavar": "N", "help": "yarn, mesos, kubernetes: cores of a worker"},
    "worker-memory": {"metavar": "SIZE", "help": "yarn, mesos, kubernetes: memory of a worker, such as 4g"},
    "server-cores": {"type": int, "metavar": "N", "help": "yarn, mesos, kubernetes: cores of a server"},
    "server-memory": {"metavar": "SIZE", "help": "yarn, mesos, kubernetes: memory of a server"},
    "slurm-worker-nodes": {"type": int, "metavar": "N", "help": "slurm: number of machines for the workers"},
    "slurm-server-nodes": {"type": int, "metavar": "N", "help": "slurm: number of machines for the servers"},
    "sge-log-dir": {"metavar": "DIR", "help": "sge: folder for the logs"},
    "hdfs-tempdir": {"metavar": "DIR", "help": "yarn: temporary folder in HDFS"},
    "yarn-app-classpath": {"metavar": "PATH", "help": "yarn: class path of the application master"},
    "yarn-app-dir": {"metavar": "DIR", "help": "yarn: folder of the application master"},
    "files": {
        "action": "append",
        "metavar": "FILE",
        "help": "yarn: copy this file to each machine (may be given several times)",
    },
    "archives": {
        "action": "append",
        "metavar": "FILE",
        "help": "yarn: copy this archive, and unpack it there (may be given several times)",
    },
    "ship-libcxx": {"metavar": "DIR", "help": "yarn: folder with a libstdc++ for the workers"},
    "mesos-master": {"metavar": "ADDRESS", "help": "mesos: address of the master"},
    "kube-namespace": {"metavar": "NAME", "help": "kubernetes: namespace of the job"},
    "kube-worker-image": {"metavar": "IMAGE", "help": "kubernetes: container image of the workers"},
    "kube-server-image": {"metavar": "IMAGE", "help": "kubernetes: container image of the servers"},
    "kube-worker-template": {"metavar": "FILE", "help": "kubernetes: template of the workers' manifest"},
    "kube-server-template": {"metavar": "FILE", "help": "kubernetes: template of the servers' manifest"},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs launch`."""
    add = parser.add_argument
    processes = {
        "type": int,
        "required": True,
        "metavar": "N",
        "help": "number of training processes, the workers",
    }
    options.add_renamed(parser, ["-n", "--num-processes"], "--num-workers", **processes)
    add(
        "-s",
        "--num-servers",
        type=int,
        default=1,
        metavar="N",
        help="number of processes that sum gradients (default: 1)",
    )
    add("--cluster", choices=dmlc.CLUSTERS, default="local", help="how processes are started (default: local)")
    add(
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="set this variable in the processes, without VALUE to its value here (a local job has them all)",
    )
    group = parser.add_argument_group("options of dmlc_tracker")
    for name, settings in TRACKER.items():
        group.add_argument(f"--{name}", **settings)
    add("command", nargs="+", metavar="-- COMMAND", help="command that each process runs")


def run(args: argparse.Namespace) -> int:
    """Start the job and wait for its end."""
    if args.num_processes < 1 or args.num_servers < 1:
        raise FCNXSError(f"-n {args.num_processes} -s {args.num_servers}: expected 1 or more of both")
    words = [f"--num-workers={args.num_processes}"]
    for name in ("cluster", "num-servers", *TRACKER):
        value = getattr(args, name.replace("-", "_"))
        for one in value if isinstance(value, list) else [value]:
            words += [] if one is None else [f"--{name}={one}"]
    settings = dmlc.parse(words)
    settings.command = dmlc.quoted(args.command, args.cluster)
    variables = environment(args.env, args.cluster, args.num_processes, args.environment)
    launched = job.Job(settings, variables, lambda line: say(f"fcnxs: {line}", sys.stderr))
    return asyncio.run(launched.run())


def environment(given: List[str], cluster: str, workers: int, here: Mapping[str, str]) -> Dict[str, str]:
    """Variables that the processes get besides dmlc_tracker's.

    Args:
        given: NAME=VALUE, or the NAME of a variable in `here`.
        cluster: how the processes are started.
        workers: number of workers, which share the processors in a local job.
        here: variables that this process was started with.

    Raises:
        FCNXSError: a name is not valid, or has no value.
    """
    variables = {}
    if cluster == "local":  # the workers share the processors, and the loopback is enough
        processors = max(1, len(os.sched_getaffinity(0)) // workers)
        variables = {
            "DMLC_NODE_HOST": "127.0.0.1",
            "OMP_NUM_THREADS": here.get("OMP_NUM_THREADS", str(processors)),
        }
    for setting in given:
        name, sign, value = setting.partition("=")
        if not re.fullmatch(r"[A-Za-z_]\w*", name) or not (sign or name in here):
            raise FCNXSError(f"--env {setting}: expected NAME=VALUE, or the NAME of a variable set here")
        variables[name] = value if sign else here[name]
    if cluster == "local":
        return variables
    return {name: dmlc.quoted([value], cluster)[0] for name, value in variables.items()}
