"""A job of several processes: workers, servers and the scheduler of MXNet's parameter server.

dmlc_tracker starts the processes (dmlc.py). `Job` watches them by their lifelines (lifeline.py), and on this
machine also by their exit codes. The first process that fails, or sends no sign of life, ends the job.
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
GRACE = 300  # seconds for the workers to finish a step and write a checkpoint after a signal
LINGER = 20  # seconds for all processes to end after the last worker has announced its end
SILENT = 60  # seconds without a sign of life, after which a process counts as frozen
HELLO = 10  # seconds in which a connection has to show the job's token
STRANGERS = 400  # connections that may be about to do so beside the job's: then the oldest is closed
CRASH = 0.5  # seconds between the two signs of one failure, the closed lifeline and the exit code
RESUME = "; `fcnxs finetune --resume RUN` goes on from the last checkpoint"


@dataclass
class Member:
    """A process of the job, seen through its lifeline."""

    writer: asyncio.StreamWriter
    role: str
    host: str
    pid: int
    session: int
    rank: int | None = None  # of a worker that has told it
    silent: int = 0  # signs of life in a row that have not come
    done: int | None = None  # exit code that the process has announced
    closed: bool = False

    def __str__(self) -> str:
        role = self.role if self.rank is None else f"{self.role} {self.rank}"
        return f"{role} on {self.host} (pid {self.pid})"

    def tell(self, message: dict) -> None:
        """Send a message, unless the lifeline is closed."""
        if not self.closed:
            self.writer.write(json.dumps(message).encode() + b"\n")


class Job:
    """A job, from the start of its first process to the end of its last.

    Args:
        args: dmlc_tracker's options from `dmlc.parse`, with the command from `dmlc.quoted` as `command`.
        variables: variables that every process gets.
        say: called with a line of text when the job is stopped, or fails.
    """

    def __init__(self, args: Any, variables: Dict[str, str], say: Callable[[str], None]) -> None:  # noqa: ANN401
        self.args, self.say = args, say
        self.local = args.cluster == "local"
        self.host = dmlc.host_of(args.cluster, args.host_ip)
        self.token = secrets.token_hex(16)
        self.variables = dict(variables)
        self.resume = RESUME if "finetune" in args.command else ""
        self.members: List[Member] = []
        self.strangers: List[asyncio.StreamWriter] = []
        self.failures: List[Tuple[Member | dmlc.Process, int | None]] = []
        self.stopping: int | None = None  # number of the signal that asked for the end
        self.submitted = False

    async def run(self) -> int:
        """Run the job; returns 0, the exit code of the first process that failed, or 128 + n after signal n."""
        self.loop = asyncio.get_running_loop()
        self.over: asyncio.Future = self.loop.create_future()
        self.unheard: List[dmlc.Process] = []  # ended by SIGIO, perhaps after an announcement not read yet
        self.processes = dmlc.Processes(lambda process: self._soon(self._ended, process))
        server = await asyncio.start_server(self._serve, self.host, 0)
        port = server.sockets[0].getsockname()[1]
        self.variables[lifeline.VARIABLE] = f"{self.host},{port},{self.token}"
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
                self.loop.add_signal_handler(number, self._stop, number)
        threading.Thread(target=self._submit, daemon=True).start()
        watch = self.loop.create_task(self._watch())
        try:
            code, why = await self.over
            if why:
                self.say(why)
            await self._end_all(why)
        finally:
            watch.cancel()
            server.close()
            self.processes.end()
        return code

    def _submit(self) -> None:
        """Let dmlc_tracker start the processes; runs in a thread."""
        try:
            dmlc.submit(self.args, self.host, self.variables, self.processes)
        except Exception as error:  # dmlc_tracker, and the programs that it calls, fail with any type
            why = f"dmlc_tracker, --cluster {self.args.cluster}: {error or type(error).__name__}"
            self._soon(self._finish, 2, why)
        self.submitted = True
        self._soon(self._check)

    def _soon(self, function: Callable, *values: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(function, *values)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one lifeline to its end; a connection without the job's token is closed."""
        lifeline.keep_alive(writer.get_extra_info("socket"))
        member = None
        try:
            hello = await self._hello(reader, writer)
            if not hmac.compare_digest(str(hello.pop("token")).encode(), self.token.encode()):
                return
            member = Member(writer, **hello)
            self.members.append(member)
            if self.stopping:
                self._pass_on(member)
            async for line in reader:
                self._hear(member, json.loads(line) if line.strip() else {})
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            pass  # a broken connection, or another program's
        except (asyncio.TimeoutError, asyncio.CancelledError):
            pass  # it said nothing for too long, or until the end of the job
        finally:
            writer.close()
            if member is not None:
                member.closed = True
                if member.done is None:
                    self._fail(member, None)
                self._check()

    async def _hello(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict:
        """First message of a connection; the program at its other end may be a stranger, who costs little.

        Up to 100 connections are accepted in a row, and then all are read: so the limit is well above that.
        """
        self.strangers.append(writer)
        if len(self.strangers) > STRANGERS + self.args.num_workers + self.args.num_servers + 1:
            self.strangers.pop(0).transport.abort()
        try:
            return json.loads(await asyncio.wait_for(reader.readline(), HELLO))
        finally:
            with contextlib.suppress(ValueError):
                self.strangers.remove(writer)

    def _hear(self, member: Member, said: dict) -> None:
        """Take a message of a member; an empty one is a sign of life, as any other is."""
        member.silent = 0
        member.rank = said.get("rank", member.rank)
        if "done" in said:
            member.done = int(said["done"])
            if member.done:
                self._fail(member, member.done)
            self._check()

    async def _watch(self) -> None:
        """End the job if a process is frozen.

        Silence is counted in turns of this loop, not by a clock: if the launcher was stopped, or the whole
        machine suspended, that is one turn. A process that has not joined, or shuts down, is frozen if it is
        seen stopped at each turn.
        """
        while True:
            await asyncio.sleep(lifeline.BEAT)
            alive = [member for member in self.members if not member.closed and member.done is None]
            running = self.processes.running()
            for member in alive:
                member.silent += 1
            for process in running:
                process.silent = process.silent + 1 if process.stopped() else 0
            for group in alive, running:
                frozen = [str(each) for each in group if each.silent * lifeline.BEAT > SILENT]
                if frozen:
                    why = f"no sign of life has come for {SILENT} s from {', '.join(frozen)}"
                    self._finish(1, f"{why}; the job ends{self.resume}")
                    return

    def _ended(self, process: dmlc.Process) -> None:
        """A process on this machine has ended.

        The kernel may end a process by SIGIO after it has announced its exit code (`lifeline.leave`). The
        announced code counts then, and comes by the lifeline, perhaps later than this.
        """
        same = [member for member in self.members if self.local and member.session == process.handle.pid]
        by_kernel = process.code == 128 + signal.SIGIO
        if by_kernel and not same and process not in self.unheard:
            self.unheard.append(process)
            self.loop.call_later(CRASH, self._ended, process)
            return
        if process in self.unheard:
            self.unheard.remove(process)
        if process.code and not (by_kernel and same):
            self._fail(same[0] if same else process, process.code)
        self._check()

    def _check(self) -> None:
        """End the job if all processes have ended, or soon after all workers have."""
        running = [*self.processes.running(), *(member for member in self.members if not member.closed)]
        running += self.unheard
        if self.submitted and not running:
            self._finish_unless_failed()
            return
        left = [member for member in self.members if member.closed or member.done is not None]
        by_lifeline = sum(member.role == "worker" for member in left)
        ended = [p for p in self.processes.all if p.code is not None and p not in self.unheard]
        by_code = sum(p.role == "worker" for p in ended)
        if max(by_lifeline, by_code) >= self.args.num_workers:
            self.loop.call_later(LINGER, self._finish_unless_failed)

    def _finish_unless_failed(self) -> None:
        if not self.failures:  # after a failure `_settle` ends the job, even if all processes end before
            self._finish(128 + self.stopping if self.stopping else 0)

    def _fail(self, who: Member | dmlc.Process, code: int | None) -> None:
        """Note a failure that a lifeline (perhaps without exit code) or a process of this machine shows."""
        if not (self.stopping and code == 128 + self.stopping):  # exit code of a process that was asked to stop
            self.failures.append((who, code))
            if len(self.failures) == 1:
                self.loop.call_later(CRASH, self._settle)

    def _settle(self) -> None:
        """End the job because of the first failure; by now its exit code may be known."""
        codes = [code for _, code in self.failures if code]
        if self.stopping and not codes and any(p.code == 128 + self.stopping for p in self.processes.all):
            self.failures.clear()  # the signal ended a process before it could announce its exit code
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
        """Handle a signal to the launcher: pass the first on to the workers, end the job at the second."""
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
                process.kill(signal.SIGCONT)  # it may be stopped
        late = f"the workers have not ended within {GRACE} s; the job ends{self.resume}"
        self.loop.call_later(GRACE, self._finish, 128 + number, late)

    def _pass_on(self, member: Member) -> None:
        if member.done is None:
            member.tell({"signal": self.stopping} if member.role == "worker" else {})  # {}: see lifeline.py

    async def _end_all(self, why: str) -> None:
        """Tell all processes to end, and wait two seconds; local ones print no reason on our own terminal."""
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
