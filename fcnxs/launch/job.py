"""A job of several processes: workers, servers and the scheduler of MXNet's parameter server.

dmlc_tracker starts them (dmlc.py); here they are watched, through their exit codes where they run on
this machine and through their lifelines (lifeline.py) everywhere. The first that fails ends the job.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import secrets
import signal
import threading
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Tuple

from . import dmlc, lifeline

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
GRACE = 300  # seconds from a signal to the end: for a step, and a checkpoint
LINGER = 10  # seconds in which the servers and the scheduler end after the last worker
CRASH = 0.5  # seconds in which the lifeline and the exit code of one death may come, in any order
RESUME = "; `fcnxs finetune --resume RUN` goes on from the last checkpoint"


@dataclass
class Member:
    """A process that takes part, at the other end of its lifeline."""

    writer: asyncio.StreamWriter
    role: str
    host: str
    pid: int
    session: int
    done: int | None = None  # the exit code that it has announced
    closed: bool = False

    def __str__(self) -> str:
        return f"{self.role} on {self.host} (pid {self.pid})"

    def tell(self, message: dict) -> None:
        """Send a message, if the process is still there."""
        if not self.closed:
            self.writer.write(json.dumps(message).encode() + b"\n")


class Job:
    """One job, from the start of its processes to the end of the last.

    Args:
        args: options of dmlc_tracker, as `dmlc.parse` gave them, with `num_workers` and `command`.
        variables: environment of every process.
        say: called with a line about what happens, where something goes wrong.
    """

    def __init__(self, args: Any, variables: Dict[str, str], say: Callable[[str], None]) -> None:  # noqa: ANN401
        self.args, self.say = args, say
        self.local = args.cluster == "local"
        self.host = dmlc.host_of(args.cluster, args.host_ip)
        self.token = secrets.token_hex(16)
        self.variables = dict(variables)
        self.resume = RESUME if "finetune" in args.command else ""
        self.members: List[Member] = []
        self.failures: List[Tuple[Member | dmlc.Process, int | None]] = []
        self.stopping: int | None = None  # the signal that asked for the end
        self.submitted = False

    async def run(self) -> int:
        """Run the job; returns the exit code of the first process that failed, 0, or 128 + n after signal n."""
        self.loop = asyncio.get_running_loop()
        self.over: asyncio.Future = self.loop.create_future()
        self.processes = dmlc.Processes(lambda process: self._soon(self._ended, process))
        server = await asyncio.start_server(self._serve, self.host, 0)
        port = server.sockets[0].getsockname()[1]
        self.variables[lifeline.VARIABLE] = f"{self.host},{port},{self.token}"
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                self.loop.add_signal_handler(number, self._stop, number)
        threading.Thread(target=self._submit, daemon=True).start()
        try:
            code, why = await self.over
            if why:
                self.say(why)
            await self._end_all(why)
        finally:
            server.close()
            self.processes.end()
        return code

    def _submit(self) -> None:
        """Let dmlc_tracker start the processes, in a thread of its own."""
        failure = None
        try:
            dmlc.submit(self.args, self.host, self.variables, self.processes)()
        except Exception as error:  # whatever it is, dmlc_tracker or what it calls has failed
            failure = f"dmlc_tracker, --cluster {self.args.cluster}: {error or type(error).__name__}"
        self._soon(self._submission_over, failure)

    def _submission_over(self, failure: str | None) -> None:
        self.submitted = True
        if failure:
            self._finish(2, failure)
        self._check()

    def _soon(self, function: Callable, *values: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(function, *values)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One lifeline, from its first line to its end; who does not know the token is not heard."""
        lifeline.keep_alive(writer.get_extra_info("socket"))
        member = None
        try:
            hello = json.loads(await asyncio.wait_for(reader.readline(), 10))
            if not hmac.compare_digest(str(hello.pop("token")).encode(), self.token.encode()):
                return
            member = Member(writer, **hello)
            self.members.append(member)
            if self.stopping:
                self._pass_on(member)
            async for line in reader:
                member.done = int(json.loads(line)["done"])
                if member.done:
                    self._fail(member, member.done)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, asyncio.TimeoutError):
            pass  # broken, or no lifeline at all
        finally:
            writer.close()
            if member is not None:
                self._closed(member)

    def _closed(self, member: Member) -> None:
        member.closed = True
        if member.done is None:
            self._fail(member, None)
        self._check()

    def _ended(self, process: dmlc.Process) -> None:
        """A process on this machine has ended."""
        if process.code:
            same = [member for member in self.members if self.local and member.session == process.handle.pid]
            self._fail(same[0] if same else process, process.code)
        self._check()

    def _check(self) -> None:
        """See whether the job is over: all have ended, or all workers have, and the others do not follow."""
        running = [*self.processes.running(), *(member for member in self.members if not member.closed)]
        if self.submitted and not running:
            self._finish_unless_failed()
        elif self._workers_over() >= self.args.num_workers:
            self.loop.call_later(LINGER, self._finish_unless_failed)

    def _finish_unless_failed(self) -> None:
        if not self.failures:  # else `_settle` ends it: all may have failed, and ended, before it comes
            self._finish(128 + self.stopping if self.stopping else 0)

    def _workers_over(self) -> int:
        by_lifeline = sum(member.role == "worker" and member.closed for member in self.members)
        by_code = sum(p.role == "worker" and p.code is not None for p in self.processes.all)
        return max(by_lifeline, by_code)

    def _fail(self, who: Member | dmlc.Process, code: int | None) -> None:
        """Hear of a failure: from a lifeline, which may know no exit code, or from a process of ours."""
        if not (self.stopping and code == 128 + self.stopping):  # as all do that are asked to stop
            self.failures.append((who, code))
            if len(self.failures) == 1:
                self.loop.call_later(CRASH, self._settle)

    def _settle(self) -> None:
        """End the job by the first failure that has been heard of, with what is known of it by now."""
        codes = [code for _, code in self.failures if code]
        if self.stopping and not codes and any(p.code == 128 + self.stopping for p in self.processes.all):
            self.failures.clear()  # it was the signal that ended a process without a word
            self._check()
            return
        members = [who for who, _ in self.failures if isinstance(who, Member)]
        first = members[0] if members else self.failures[0][0]
        same = [code for who, code in self.failures if code and (who is first or not isinstance(who, Member))]
        words = _words(first, same[0]) if same else f"{first} has died"
        self._finish(same[0] if same else 1, f"{words}; the job ends{self.resume}")

    def _finish(self, code: int, why: str = "") -> None:
        if not self.over.done():
            self.over.set_result((code, why))

    def _stop(self, number: int) -> None:
        """A signal to the launcher: passed on to the workers; the second one ends everything."""
        name = signal.Signals(number).name
        if self.stopping:
            self._finish(128 + number, f"{name} again: the job ends{self.resume}")
            return
        self.stopping = number
        self.say(f"{name}: told the workers; again ends everything at once")
        for member in self.members:
            self._pass_on(member)
        joined = {member.session for member in self.members}
        for process in self.processes.running():
            if self.local and process.role == "worker" and process.handle.pid not in joined:
                process.kill(number)
        late = f"the workers have not ended within {GRACE} s; the job ends{self.resume}"
        self.loop.call_later(GRACE, self._finish, 128 + number, late)

    def _pass_on(self, member: Member) -> None:
        if member.role == "worker" and member.done is None:
            member.tell({"signal": self.stopping})

    async def _end_all(self, why: str) -> None:
        """Tell everyone to end, and give them two seconds; processes of a local job share our terminal."""
        for member in self.members:
            member.tell({"end": "" if self.local else why})
        for _ in range(20):
            if all(member.closed for member in self.members):
                break
            await asyncio.sleep(0.1)


def _words(who: object, code: int) -> str:
    with contextlib.suppress(ValueError):
        if code > 128:
            return f"{who} has died of {signal.Signals(code - 128).name}"
    return f"{who} ended with exit code {code}"
