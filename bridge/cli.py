"""The command line. Thin: each command opens the installation, calls what does the work, prints, exits.

Exit status: 0 fine, 1 something needs attention, 2 wrong usage or configuration.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from bridge import __version__, auditing, commands, log, planning, standing, terminal, trying
from bridge import coverage as new_leads
from bridge import values as average
from bridge.compose import load_config, settle_process
from bridge.config import Config
from bridge.errors import BridgeError, ConfigError
from bridge.helping import HelpfulCommand, HelpfulGroup
from bridge.late import late as too_late
from bridge.sim.clock import SharedClock
from bridge.system_clock import SystemClock
from bridge.terminal import Outcome
from bridge.tools import Clock
from bridge.typed import DEFAULT, VARIABLE, typed

app = typer.Typer(
    cls=HelpfulGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="""Tells ad systems which leads were worth their money.

Reads lead status and revenue from CRMs, finds the click behind each lead, uploads qualified leads and sales
to Yandex Metrica and Google Ads, and proves that each one arrived once.

First steps: [bold]bridge demo[/] (no accounts needed), [bold]bridge init[/] to write a configuration,
[bold]bridge check[/], [bold]bridge sync[/] to try one turn, [bold]bridge run[/] for good.""",
)
held_app = typer.Typer(cls=HelpfulGroup, no_args_is_help=True, help="Deliveries whose fate only a human can decide.")
app.add_typer(held_app, name="held")
hook_app = typer.Typer(cls=HelpfulGroup, no_args_is_help=True, help="Webhooks that tell us of changes at once.")
app.add_typer(hook_app, name="hook")

rules_app = typer.Typer(cls=HelpfulGroup, no_args_is_help=True, help="Goals, criteria and scores, tried out.")
app.add_typer(rules_app, name="rules")

ConfigPath = Annotated[
    Path,
    typer.Option(
        "-c",
        "--config",
        envvar=VARIABLE,
        show_envvar=False,
        show_default=False,
        help=f"The file; else {VARIABLE}, else {DEFAULT}.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of tables.")]
OneTenant = Annotated[str | None, typer.Option("--tenant", "-t", help="Only this tenant.")]
TheTenant = Annotated[str, typer.Option("--tenant", "-t", help="The tenant.")]
ClockFile = Annotated[Path | None, typer.Option("--clock", hidden=True, help="Simulated time, for demos and tests.")]


def main() -> None:
    """Entry point of the ``bridge`` command."""
    app()


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = (
        False
    ),
) -> None:
    """Options of every command."""


@app.command(cls=HelpfulCommand)
def demo(
    folder: Annotated[Path, typer.Option(help="Where to leave the demo's configuration and database.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Another number, another business.")] = 7,
    leads: Annotated[Path | None, typer.Option(help="Your own table (CSV, XLSX) for the second part.")] = None,
) -> None:
    """The whole story on simulators: nothing to configure, a minute.

    Two imaginary advertisers (one on amoCRM, one on Bitrix24) live through 30 days while the real daemon, killed and
    restarted on the way, reads their leads and uploads conversions over HTTP. An oracle then counts what arrived.
    """
    from bridge.sim.demo import run_demo  # noqa: PLC0415 - simulators are loaded only when asked for

    log.setup("error", "console")
    _finish(Outcome(status=_guarded(lambda: run_demo(folder, seed, leads))), False)


@app.command(cls=HelpfulCommand)
def init(  # noqa: PLR0913 - one parameter for each option of the command
    tenant: Annotated[str | None, typer.Option("--tenant", "-t", help="A short name for the advertiser: okna.")] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="Where leads are read: KIND or NAME=KIND; see 'bridge adapters'. Repeat.")
    ] = None,
    destination: Annotated[
        list[str] | None, typer.Option(help="Where conversions go: KIND or NAME=KIND. Repeat.")
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="The address of the source's account.")] = None,
    path: Annotated[str | None, typer.Option(help="The table file of a source.")] = None,
    counter_id: Annotated[str | None, typer.Option(help="The number of the Metrica counter.")] = None,
    customer_id: Annotated[str | None, typer.Option(help="The number of the Google Ads account.")] = None,
    auth: Annotated[
        list[str] | None,
        typer.Option(
            help="Way of logging in, or kind of table: WAY or NAME=WAY (token, oauth, webhook, google_sheets). Repeat."
        ),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(help="Where a secret is: NAME.KEY=env:VARIABLE or NAME.KEY=file:PATH. Repeat."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any other setting of an account: NAME.KEY=VALUE. Repeat.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="The advertiser's name, for people.")] = None,
    timezone: Annotated[str | None, typer.Option(help="Europe/Moscow, or what the accounts say.")] = None,
    currency: Annotated[str | None, typer.Option(help="RUB, or what the accounts say.")] = None,
    qualified_stage: Annotated[
        list[str] | None, typer.Option(help="A stage that makes a lead qualified: STAGE or PIPELINE/STAGE. Repeat.")
    ] = None,
    field: Annotated[
        list[str] | None, typer.Option(help="A field that holds an identifier: KIND=FIELD (yclid=...). Repeat.")
    ] = None,
    send: Annotated[
        list[str] | None, typer.Option(help="Where a goal goes: GOAL.DESTINATION=ITS GOAL (sale.metrica=...). Repeat.")
    ] = None,
    create_goals: Annotated[
        bool, typer.Option("--create-goals", help="Create goals that the destination lacks, where that is possible.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no account, even if credentials are there.")] = False,
    output: Annotated[
        str | None, typer.Option(help="The file to write; - prints it. By default config.toml or a file beside it.")
    ] = None,
    no_input: Annotated[bool, typer.Option("--no-input", help="Ask nothing, even on a terminal.")] = False,
    config: ConfigPath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Write a tenant's configuration; ask only what cannot be known.

    It is commented, and overwrites nothing. With credentials it lists the accounts' pipelines, stages, loss reasons,
    goals and the fields that look like identifiers, and fills them in. Without a terminal everything is given by
    options.

    Exit status 0: written; 1: written, but something needs attention; 2: something is missing or wrong.
    """
    from bridge.init.asker import asker  # noqa: PLC0415 - loaded only when asked for
    from bridge.init.run import init as run_init  # noqa: PLC0415 - loaded only when asked for
    from bridge.init.wanted import Options  # noqa: PLC0415 - loaded only when asked for

    given = {"base_url": base_url, "path": path, "counter_id": counter_id, "customer_id": customer_id}
    options = Options(
        config,
        tenant,
        output,
        title,
        timezone,
        currency,
        sources=tuple(source or ()),
        destinations=tuple(destination or ()),
        shortcuts={key: value for key, value in given.items() if value is not None},
        ways=tuple(auth or ()),
        values=tuple(set_ or ()),
        secrets=tuple(secret or ()),
        fields=tuple(field or ()),
        qualified=tuple(qualified_stage or ()),
        sends=tuple(send or ()),
        creates_goals=create_goals,
        is_offline=offline,
    )
    log.setup("critical", "console")
    _finish(_guarded(lambda: run_init(options, SystemClock(), asker(not no_input)), config), as_json)


@app.command(cls=HelpfulCommand)
def check(
    config: ConfigPath = DEFAULT,
    tenant: OneTenant = None,
    everything: Annotated[bool, typer.Option("--all", help="Show what is ok, however many tenants there are.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look at everything, change nothing.

    At the configuration, secrets, credentials, rights, and the names of stages and goals.

    Exit status 0: all well; 1: an account or a name needs attention; 2: the configuration is wrong.
    """
    _run(config, lambda loaded, clock: commands.check(loaded, clock, tenant, everything), as_json)


@app.command(cls=HelpfulCommand, no_args_is_help=True)
def auth(  # noqa: PLR0913 - one parameter for each option of the command
    source: Annotated[str, typer.Argument(help="The source's own name in the tenant.")],
    tenant: TheTenant,
    code: Annotated[
        str | None, typer.Option(help="What the vendor's page gave: the code, or its whole address; - reads it.")
    ] = None,
    config: ConfigPath = DEFAULT,
    as_json: AsJson = False,
    clock: ClockFile = None,
) -> None:
    """Grant access to a source that logs in by OAuth.

    Without --code it prints the page to open, with it it stores the tokens. Works whether the daemon runs or not. Exit
    status 0: done; 1: the vendor refused; 2: nothing to authorize.
    """
    wanted = commands.Granting(tenant, source, sys.stdin.readline() if code == "-" else code)
    _run(config, lambda loaded, now: commands.auth(loaded, now, wanted), as_json, clock)


@app.command(cls=HelpfulCommand)
def run(config: ConfigPath = DEFAULT, tenant: OneTenant = None, clock: ClockFile = None) -> None:
    """The daemon: reads, judges, uploads and verifies until stopped.

    SIGTERM or Ctrl-C stop it. Serves /healthz and /metrics on web.listen. Killing it is safe at any moment.
    """
    tick = float(os.environ.get("BRIDGE_SIM_TICK", "0.2")) if clock else None
    _run(config, lambda loaded, now: commands.run(loaded, now, tenant, tick), False, clock, is_service=True)


@app.command(cls=HelpfulCommand)
def sync(
    config: ConfigPath = DEFAULT, tenant: OneTenant = None, as_json: AsJson = False, clock: ClockFile = None
) -> None:
    """One full turn and exit; for cron and for trying out.

    Poll, hints, sweep, assess, reconcile, deliver, verify, coverage, windows, audit.
    """
    _run(config, lambda loaded, now: commands.sync(loaded, now, tenant), as_json, clock)


@app.command(cls=HelpfulCommand, no_args_is_help=True)
def backfill(  # noqa: PLR0913 - one parameter for each option of the command
    tenant: TheTenant,
    since: Annotated[str, typer.Option(help="First day or moment, in the tenant's time zone: 2026-03-01.")],
    until: Annotated[str | None, typer.Option(help="End of the period (exclusive); default: now.")] = None,
    source: Annotated[str | None, typer.Option(help="Only this source.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and judge, but promise nothing.")] = False,
    config: ConfigPath = DEFAULT,
    as_json: AsJson = False,
    clock: ClockFile = None,
) -> None:
    """Read a past period again and send what was never sent.

    Resumable; running it twice sends nothing twice. Works whether the daemon runs or not: if it does, it carries the
    request out while this command shows progress.
    """
    wanted = commands.Period(tenant, since, until, source, dry_run, as_json)
    _run(config, lambda loaded, now: commands.backfill(loaded, now, wanted), as_json, clock)


@app.command(cls=HelpfulCommand, no_args_is_help=True)
def plan(  # noqa: PLR0913 - one parameter for each option of the command
    tenant: TheTenant,
    goal: Annotated[str | None, typer.Option(help="Only this goal.")] = None,
    examples: Annotated[int, typer.Option(min=0, help="Deals to show of each kind of change.")] = 3,
    apply: Annotated[bool, typer.Option("--apply", help="Carry it out, after a question.")] = False,
    leave: Annotated[bool, typer.Option("--leave", help="Decide to leave old deals alone; status is quiet again.")] = (
        False
    ),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigPath = DEFAULT,
    as_json: AsJson = False,
    clock: ClockFile = None,
) -> None:
    """What the goals as they are now would change for old deals.

    What would be sent, restated, withdrawn or left, and why. A goal that is changed or added sends nothing of what was
    reached before, until --apply or a backfill says so. Without --apply it sends and stores nothing. Works whether the
    daemon runs or not.
    """
    wanted = planning.Wanted(tenant, goal, examples, apply, leave, yes, as_json)
    confirm = typer.confirm if sys.stdin.isatty() and not as_json else None
    _run(config, lambda loaded, now: planning.plan(loaded, now, wanted, confirm), as_json, clock)


@app.command(cls=HelpfulCommand)
def status(
    config: ConfigPath = DEFAULT, tenant: OneTenant = None, as_json: AsJson = False, clock: ClockFile = None
) -> None:
    """What is going on, and what needs attention.

    Per source how fresh and how well matched it is, per destination the deliveries by state.
    """
    _run(config, lambda loaded, now: standing.status(loaded, now, tenant), as_json, clock)


@app.command(cls=HelpfulCommand)
def coverage(
    config: ConfigPath = DEFAULT,
    tenant: OneTenant = None,
    weeks: Annotated[int, typer.Option(min=1, max=53, help="How many weeks, the running one included.")] = 5,
    as_json: AsJson = False,
    clock: ClockFile = None,
) -> None:
    """New leads with a usable click or visitor id, week by week.

    Per source and channel. Exit status 1 if the share has fallen, or leads stay away.
    """
    _run(config, lambda loaded, now: new_leads.coverage(loaded, now, tenant, weeks), as_json, clock)


@app.command(cls=HelpfulCommand, no_args_is_help=True)
def values(tenant: TheTenant, config: ConfigPath = DEFAULT, as_json: AsJson = False, clock: ClockFile = None) -> None:
    """What deals that reach a goal are worth on average, and why.

    For goals with value = "expected", per source, pipeline and channel. Exit status 1 if some goal has no estimate yet.
    """
    _run(config, lambda loaded, now: average.values(loaded, now, tenant), as_json, clock)


@app.command(cls=HelpfulCommand)
def audit(
    config: ConfigPath = DEFAULT,
    tenant: OneTenant = None,
    since: Annotated[str | None, typer.Option(help="First day, as the ad systems count days: 2026-03-01.")] = None,
    as_json: AsJson = False,
    clock: ClockFile = None,
) -> None:
    """What ad systems count beside what they were sent.

    Per goal and day, as compared once a day by run and sync. Exit status 1 if something is not counted there, or cannot
    be compared.
    """
    _run(config, lambda loaded, now: auditing.audit(loaded, now, tenant, since), as_json, clock)


@app.command(cls=HelpfulCommand)
def late(
    config: ConfigPath = DEFAULT,
    tenant: OneTenant = None,
    since: Annotated[str | None, typer.Option(help="First day, in the tenant's time zone; default: 30 days ago.")] = (
        None
    ),
    as_json: AsJson = False,
    clock: ClockFile = None,
) -> None:
    """What came too late to be sent: its worth, and where time went."""
    _run(config, lambda loaded, now: too_late(loaded, now, tenant, since), as_json, clock)


@app.command(cls=HelpfulCommand, no_args_is_help=True)
def explain(
    deal: Annotated[
        str, typer.Argument(help="The deal's number or key: 7310, lead:5123, deal:7310, item:1032-15, crm/deal:7310.")
    ],
    tenant: TheTenant,
    config: ConfigPath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Everything behind one deal, from its click to the answers.

    Its history, its match and the evidence, each goal's verdict, each delivery's life.
    """
    _run(config, lambda loaded, clock: commands.explain(loaded, clock, tenant, deal), as_json)


@app.command(cls=HelpfulCommand)
def adapters(as_json: AsJson = False) -> None:
    """What can be connected, with each one's traits."""
    _finish(commands.adapters(), as_json)


@rules_app.command("test", cls=HelpfulCommand, no_args_is_help=True)
def rules_test(  # noqa: PLR0913 - one parameter for each option of the command
    tenant: TheTenant,
    since: Annotated[str | None, typer.Option(help="Only deals created then or later: 2026-03-01.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="How many deals that flip to list.")] = 20,
    config: ConfigPath = DEFAULT,
    as_json: AsJson = False,
    clock: ClockFile = None,
) -> None:
    """What other rules would change for stored deals.

    Counts and value per goal, and deals that flip, with why. Name a changed copy of the configuration with --config, in
    the same folder. Compares with what was counted so far; sends and stores nothing. Works whether the daemon runs or
    not.
    """
    wanted = trying.Wanted(tenant, since, limit)
    _run(config, lambda loaded, now: trying.rules_test(loaded, now, wanted), as_json, clock)


@hook_app.command("remove", cls=HelpfulCommand, no_args_is_help=True)
def hook_remove(
    source: Annotated[str, typer.Argument(help="The source's own name in the tenant.")],
    tenant: TheTenant,
    config: ConfigPath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Take a source's webhooks away at the vendor.

    Those that the daemon has registered. Exit status 0: done; 1: the vendor refused; 2: no such source, or its webhooks
    were made by hand.
    """
    _run(config, lambda loaded, clock: commands.hook_remove(loaded, clock, tenant, source), as_json)


@held_app.command("list", cls=HelpfulCommand)
def held_list(config: ConfigPath = DEFAULT, tenant: OneTenant = None, as_json: AsJson = False) -> None:
    """Deliveries that wait for a decision, oldest first."""
    _run(config, lambda loaded, clock: commands.held_list(loaded, clock, tenant), as_json)


@held_app.command("resolve", cls=HelpfulCommand, no_args_is_help=True)
def held_resolve(  # noqa: PLR0913 - one parameter for each option of the command
    tenant: TheTenant,
    resolution: Annotated[
        Literal["resend", "accepted", "cancel"],
        typer.Option(
            "--as", metavar="<how>", help="resend: it did not arrive; accepted: it did; cancel: never send it."
        ),
    ],
    deliveries: Annotated[list[str] | None, typer.Argument(help="Their ids.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All held deliveries of the tenant.")] = False,
    config: ConfigPath = DEFAULT,
    as_json: AsJson = False,
    clock: ClockFile = None,
) -> None:
    """Decide about held deliveries.

    "bridge held list" names them. Works whether the daemon runs or not.
    """
    if bool(deliveries) == everything:
        _fail(typed(f'name deliveries, or say --all; "bridge held list --tenant {tenant}" names them', config))
    wanted = commands.Decision(tenant, resolution, tuple(deliveries or ()), as_json)
    _run(config, lambda loaded, now: commands.held_resolve(loaded, now, wanted), as_json, clock)


Work = Callable[[Config, Clock], Awaitable[Outcome]]


def _run(path: Path, work: Work, as_json: bool, clock: Path | None = None, is_service: bool = False) -> None:
    def start() -> Outcome:
        loaded = load_config(path)
        # A command prints what went wrong by itself; its log would only say it twice.
        logs = is_service or loaded.log.level == "debug"
        log.setup(loaded.log.level if logs else "critical", loaded.log.format)
        now: Clock = SharedClock(clock) if clock else SystemClock()
        settle_process()
        return asyncio.run(_coroutine(work(loaded, now)))

    _finish(_guarded(start, path), as_json)


async def _coroutine(awaitable: Awaitable[Outcome]) -> Outcome:
    return await awaitable


def _guarded(start: Callable[[], Any], path: Path = DEFAULT) -> Any:
    """Our own errors become one clear message and an exit status; anything else is a bug and shows itself."""
    try:
        return start()
    except ConfigError as error:
        _fail(typed(str(error), path))
    except BridgeError as error:
        told = typed(log.redact(str(error)), path) or type(error).__name__
        terminal.err.print(told, style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except (KeyboardInterrupt, typer.Abort):  # the latter at a question
        raise typer.Exit(130) from None


def _fail(message: str) -> NoReturn:
    terminal.err.print(log.redact(message), style="red", markup=False, soft_wrap=True)
    raise typer.Exit(2)


def _finish(outcome: Outcome, as_json: bool) -> NoReturn:
    if as_json and outcome.data is not None:
        terminal.print_json(outcome.data)
    elif outcome.show is not None:
        outcome.show()
    sys.stdout.flush()
    raise typer.Exit(outcome.status)
