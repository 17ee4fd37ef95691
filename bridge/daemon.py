"""The daemon: one ticker per tenant and verb, graceful stop, watchdog. Real due times live in the database.

A tick that finds nothing due costs one small query. Tenants share nothing but the process: each verb of each tenant is
its own job, so dead credentials or a flood of one never delay another. A tenant whose lock is lost is dropped at once,
with all that runs for it, and served again when the lock is.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta

from apscheduler.job import Job as Ticker
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from bridge.compose import Installation
from bridge.config import TenantSettings, hook_of
from bridge.errors import BridgeError, ConfigError, LockHeld, LockLost
from bridge.loops import (
    anew,
    assess,
    audit,
    carry_out,
    coverage,
    deliver,
    drift,
    estimates,
    hints,
    hooks,
    poll,
    reconcile,
    retirement,
    sweep,
    tidy,
    verify,
    windows,
    write_back,
)
from bridge.tenant import Progress, Tenant
from bridge.twice import Readers
from bridge.web.server import WebServer

STOP_LIMIT = timedelta(seconds=25)
_LOCK_RETRY = 2.0
_REQUEST_TICK = 1.0
_SWEEP_EVERY = 60.0
_MARKS_EVERY = 60.0
_TIDY_EVERY = 3600.0
_COVERAGE_EVERY = 600.0  # a look at whether an hour has passed
_ESTIMATES_EVERY = 600.0  # a look at whether a week has passed
_HOOKS_EVERY = 900.0
_WINDOWS_EVERY = 600.0
_AUDIT_EVERY = 600.0  # a look at whether a day has passed
_DRIFT_EVERY = 60.0
_RETIREMENT_EVERY = 3600.0  # a look at whether a day has begun
_QUEUE_EVERY = 10.0
_LOOK = "look for requests and hints"

Verb = Callable[[Tenant], Awaitable[Progress]]


async def cycle(tenant: Tenant, *, force: bool = False) -> Progress:
    """One full turn: poll, hints, sweep, assess, reconcile, deliver, verify, write back, coverage, windows, audit,
    drift, estimates.

    What ``bridge sync`` does.
    """
    if force:
        await tenant.troubles.try_again(deliver.MENDED_BY_PEOPLE, tenant.clock.now())
    progress = await poll.once(tenant, force=force)
    progress += await hints.once(tenant)
    progress += await hints.pull(tenant)
    progress += await sweep.once(tenant)
    progress += await assess.once(tenant)
    progress += await reconcile.once(tenant)
    progress += await deliver.once(tenant, force=force)
    progress += await verify.once(tenant)
    progress += await write_back.once(tenant)
    progress += await coverage.once(tenant, force=force)
    progress += await windows.once(tenant, force=force)
    progress += await audit.once(tenant)
    progress += await drift.once(tenant)
    progress += await estimates.once(tenant)
    return progress


@dataclass(slots=True)
class Job:
    """A verb of one tenant and how often it is looked at (seconds)."""

    name: str
    verb: Verb
    every: float


async def _left(tenant: Tenant) -> Progress:
    progress = await poll.once(tenant)
    progress += await assess.once(tenant)
    return progress


async def _right(tenant: Tenant) -> Progress:
    progress = await reconcile.once(tenant)
    progress += await deliver.turn(tenant)
    return progress


def _jobs(tenant: Tenant, tick: float | None) -> list[Job]:
    polls = [unit.settings.poll_every for unit in tenant.sources.values()]
    sends = [unit.settings.send_every for unit in tenant.destinations.values()]
    minute = timedelta(seconds=60)
    left = tick or min([*polls, minute]).total_seconds()
    right = tick or min([*sends, minute]).total_seconds()
    jobs = [
        Job("left", _left, left),
        Job("sweep", sweep.once, tick or _SWEEP_EVERY),
        Job("right", _right, right),
        Job("verify", verify.once, right),
        Job("coverage", coverage.once, tick or _COVERAGE_EVERY),
        Job("windows", windows.once, tick or _WINDOWS_EVERY),
        Job("audit", audit.once, tick or _AUDIT_EVERY),
        Job("tidy", tidy.once, tick * 20 if tick else _TIDY_EVERY),
        Job("drift", drift.once, tick or _DRIFT_EVERY),
        Job("retirement", retirement.once, tick * 20 if tick else _RETIREMENT_EVERY),
    ]
    if tenant.expects:
        jobs.append(Job("estimates", estimates.once, tick or _ESTIMATES_EVERY))
    if any(unit.is_marked for unit in tenant.sources.values()):
        jobs.append(Job("write back", write_back.once, tick or _MARKS_EVERY))
    if hooks.has_hook(tenant):
        jobs.append(Job("hooks", hooks.once, tick * 20 if tick else _HOOKS_EVERY))
    if hints.has_queue(tenant):
        jobs.append(Job("queue", hints.pull, tick or _QUEUE_EVERY))
    return jobs


def _takes_hooks(tenant: TenantSettings) -> bool:
    return any(hook_of(one) is not None for one in tenant.sources.values())


class Daemon:
    """``bridge run``. ``tick`` (seconds) replaces every interval when the clock is simulated."""

    def __init__(self, installation: Installation, only: str | None = None, tick: float | None = None) -> None:
        self._installation = installation
        self._only = only
        self._tick = tick
        self._stop = asyncio.Event()
        self._scheduler = AsyncIOScheduler(
            timezone="UTC", job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        self._running: set[asyncio.Task[None]] = set()
        self._working: dict[str, Tenant] = {}
        self._readers = Readers(installation.config.folder)
        self._trouble = ""
        self._has_hooks = any(_takes_hooks(tenant) for tenant in installation.config.tenants.values())

    def stop(self) -> None:
        """Begin a graceful stop: no new work, what runs may finish for a while."""
        self._stop.set()

    async def run(self) -> None:
        """Work until stopped.

        Raises:
            ConfigError: no sound tenant, none that can work, or the web address cannot be bound.
        """
        installation = self._installation
        log = installation.log
        names = installation.names(self._only)
        for name, lines in installation.config.broken.items():
            if self._only in (None, name):
                log.error("tenant_broken", tenant=name, error="; ".join(lines))
        if not names:
            raise ConfigError(f"{installation.config.path} has no tenant to work for")
        await _can_work(installation, names)
        web = WebServer(installation, names)
        async with AsyncExitStack() as stack:
            await web.start()
            stack.push_async_callback(web.stop)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.stop)
            serving = {name: asyncio.create_task(self._serve(name)) for name in names}
            stack.push_async_callback(_cancelled, serving.values())
            self._scheduler.start()
            self._scheduler.add_job(self._requests, "interval", seconds=self._tick or _REQUEST_TICK)
            stack.push_async_callback(_cancelled, [asyncio.create_task(self._heartbeat())])
            notify("READY=1")
            log.info("daemon_started", tenants=len(names))
            await self._stop.wait()
            notify("STOPPING=1")
            log.info("daemon_stopping", running=len(self._running))
            await _cancelled([task for name, task in serving.items() if name not in self._working])
            await self._drain()
        log.info("daemon_stopped")

    async def _serve(self, name: str) -> None:
        """Work for a tenant while we have its lock, wait for it while somebody else has; until cancelled."""
        log = self._installation.log
        said = ""
        is_new = True
        while True:
            try:
                async with self._installation.store.tenant_lock(name):
                    tenant = await self._installation.tenant(name)
                    if is_new:
                        await anew.begin(tenant)
                    said, is_new = "", False
                    await self._work(tenant)
            except LockHeld:
                if said != "held":
                    log.info("lock_waiting", tenant=name)
                said = "held"
            except LockLost as error:
                log.error("lock_lost", tenant=name, error=str(error))
                continue
            except Exception as error:
                # Whatever it is, it may pass (a database that restarts): the lock is free again, and we try again.
                if said != str(error):
                    log.error("tenant_broken", tenant=name, error=f"{type(error).__name__}: {error}")
                said = str(error)
            await asyncio.sleep(_LOCK_RETRY)

    async def _work(self, tenant: Tenant) -> None:
        """Begin a tenant's ticks, and end them together with whatever they began when cancelled."""
        self._working[tenant.name] = tenant
        self._installation.log.info("lock_taken", tenant=tenant.name)
        for own, doubled in self._readers.add(tenant).items():
            for one in doubled:
                tenant.log.error("counted_twice", source=own, error=one.message)
        tickers = [self._ticker(tenant, job) for job in _jobs(tenant, self._tick)]
        try:
            await asyncio.Event().wait()
        finally:
            del self._working[tenant.name]
            if self._scheduler.running:
                for ticker in tickers:
                    ticker.remove()
            await _cancelled([task for task in self._running if task.get_name().startswith(f"{tenant.name}/")])

    def _ticker(self, tenant: Tenant, job: Job) -> Ticker:
        self._begin(tenant, job)
        return self._scheduler.add_job(
            self._tick_of,
            "interval",
            (tenant, job),
            seconds=job.every,
            jitter=None if self._tick else job.every / 10,
        )

    async def _tick_of(self, tenant: Tenant, job: Job) -> None:
        """What the scheduler calls (a coroutine function, so that it stays on our loop)."""
        self._begin(tenant, job)

    def _begin(self, tenant: Tenant, job: Job) -> None:
        """Start a verb unless its last run still goes on, or the tenant is no longer ours."""
        name = f"{tenant.name}/{job.name}"
        if (
            self._stop.is_set()
            or tenant.name not in self._working
            or any(task.get_name() == name for task in self._running)
        ):
            return
        self._track(asyncio.create_task(self._guarded(tenant, job), name=name))

    async def _guarded(self, tenant: Tenant, job: Job) -> None:
        try:
            while (await job.verb(tenant)).unfinished and not self._stop.is_set():
                pass
        except BridgeError as error:
            tenant.log.error("loop_failed", loop=job.name, error=f"{type(error).__name__}: {error}")
        except Exception:
            tenant.log.exception("loop_failed", loop=job.name)

    async def _requests(self) -> None:
        """What the scheduler calls: look for what commands and vendors want, unless the last look still goes on."""
        if not self._stop.is_set() and all(task.get_name() != _LOOK for task in self._running):
            self._track(asyncio.create_task(self._look_for_requests(), name=_LOOK))

    async def _look_for_requests(self) -> None:
        """Begin what commands asked for, one request of a tenant at a time, and reading what webhooks named.

        Hints are looked for in the database: they may have come to another process than the one with the lock.
        """
        requests = self._installation.requests
        try:
            waiting = await requests.waiting_tenants()
            hinted = await self._installation.hints.waiting() if self._has_hooks else []
        except BridgeError as error:
            self._tell(f"{type(error).__name__}: {error}")
            return
        self._tell("")
        for name in waiting:
            tenant = self._working.get(name)
            if tenant is not None:
                self._begin(tenant, Job("requests", lambda t: carry_out.once(t, requests), 0))
        for name in hinted:
            tenant = self._working.get(name)
            if tenant is not None:
                self._begin(tenant, Job("hints", hints.once, 0))

    def _tell(self, trouble: str) -> None:
        """What keeps us from looking, or "": it comes every second, and is worth a line when it changes."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble:
            self._installation.log.error("loop_failed", loop=_LOOK, error=trouble)
        else:
            self._installation.log.info("loop_recovered", loop=_LOOK)

    def _track(self, task: asyncio.Task[None]) -> None:
        """Count a task among those a graceful stop waits for."""
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _heartbeat(self) -> None:
        """Tell the service manager we live, but only while the database answers."""
        limit = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
        while limit:
            with suppress(BridgeError):
                async with self._installation.store.read():
                    notify("WATCHDOG=1")
            await asyncio.sleep(limit / 2)

    async def _drain(self) -> None:
        """Let running work finish; what does not in time is cancelled, which is as safe as a crash."""
        self._scheduler.pause()
        for _ in range(3):  # ticks under way end by themselves; a shutdown would cancel them and tell of a failed job
            await asyncio.sleep(0)
        self._scheduler.shutdown(wait=False)
        if not self._running:
            return
        _, late = await asyncio.wait(self._running, timeout=STOP_LIMIT.total_seconds())
        await _cancelled(late)


async def _can_work(installation: Installation, names: Iterable[str]) -> None:
    """A daemon that could do nothing at all had better not run: whoever starts it is told what is missing.

    Raises:
        ConfigError: no account of any tenant can be built.
    """
    lines: list[str] = []
    for name in names:
        hindrances = await installation.hindered(name)
        if not hindrances:
            return
        lines += hindrances
    raise ConfigError("\n".join([f"no tenant of {installation.config.path} can work; set what is missing:", *lines]))


async def _cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    """End these tasks, and wait until they have."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def notify(message: str) -> None:
    """Tell systemd (``sd_notify``); silent where there is none."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    path = "\0" + address[1:] if address.startswith("@") else address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(message.encode(), path)
