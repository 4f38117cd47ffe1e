"""The `leadline` command: thin; what a command needs is imported when it runs."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Optional

import typer

from leadline.flows.cli_options import Name, StoreFolder, use
from leadline.flows.cli_steering import steering
from leadline.flows.examples import example_names, write_example
from leadline.flows.torch_warning import quiet_torch
from leadline.surrogate.errors import LeadlineError

app = typer.Typer(
    help="Find the stable structures for a fraction of the calculations.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

File = Annotated[Path, typer.Argument(help="Campaign file (YAML).", show_default=False)]
Changes = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads it at run time
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key, e.g. stop.calculations=50."),
]
Calculations = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(min=1, help="Calculations that one run may start; then it rests."),
]
WallHours = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(help="Hours that one run may take; then it rests."),
]
NodeHours = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(help="Node-hours that one run may spend; then it rests."),
]
Files = Annotated[list[Path], typer.Argument(help="Campaign files (YAML).", show_default=False)]
CronLine = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--cron", metavar="LINE", help='When runs begin, e.g. "0 2 * * *".'),
]
Interval = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--every", metavar="TIME", help='Time from one run to the next, e.g. "6 h".'),
]
Out = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--out", "-o", metavar="PATH", help="Where to write it."),
]


@app.command()
def init(
    name: Name,
    example: Annotated[
        str, typer.Option(metavar="EXAMPLE", help=f"One of: {', '.join(example_names())}.")
    ] = "cu-au",
) -> None:
    """Write a commented campaign file NAME.yaml to start from."""
    path = write_example(name, example, Path.cwd())
    print(f"Wrote {path.name}. Next: leadline check {path.name}, then leadline run {path.name}")


@app.command()
def check(
    file: File,
    set_: Changes = None,
    store: StoreFolder = None,
    try_one: Annotated[
        bool, typer.Option("--try-one", help="Compute the smallest candidate for real.")
    ] = False,
) -> None:
    """Say whether a campaign can run: keys, engine, candidates, store, cluster."""
    use(store)
    from leadline.flows.checking import check_campaign
    from leadline.flows.console_logging import quiet_prefect
    from leadline.flows.spec_file import read_spec

    spec = read_spec(file, set_ or (), os.environ)
    with quiet_prefect():
        can_run = check_campaign(spec, try_one=try_one, say=print)
    raise typer.Exit(0 if can_run else 1)


@app.command()
def converge(
    file: File,
    error: Annotated[
        str, typer.Option(metavar="ENERGY", help="Change per atom that is allowed.")
    ] = "1 meV/atom",
    candidate: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="ID", help="Id or formula; the smallest of all elements without."),
    ] = None,
    set_: Changes = None,
    store: StoreFolder = None,
) -> None:
    """Find the cutoff and k-mesh that an error asks for, by computing one candidate."""
    use(store)
    from leadline.flows.console_logging import quiet_prefect
    from leadline.flows.converging import allowed_error, converge
    from leadline.flows.spec_file import read_spec

    spec = read_spec(file, set_ or (), os.environ)
    with quiet_prefect():
        converged = converge(spec, allowed_error(error), candidate, print)
    raise typer.Exit(0 if converged else 1)


@app.command()
def run(
    file: File,
    calculations: Calculations = None,
    hours: WallHours = None,
    node_hours: NodeHours = None,
    set_: Changes = None,
    store: StoreFolder = None,
) -> None:
    """Start a campaign, or carry it on. Ctrl-C once rests, twice stops at once."""
    use(store)
    from leadline.flows.limits import RunLimits
    from leadline.flows.running import run_campaign
    from leadline.flows.spec_file import read_spec

    spec = read_spec(file, set_ or (), os.environ)
    run_campaign(spec, RunLimits(calculations, hours, node_hours))


@app.command()
def serve(
    files: Files,
    cron: CronLine = None,
    every: Interval = None,
    calculations: Calculations = None,
    hours: WallHours = None,
    node_hours: NodeHours = None,
    set_: Changes = None,
    store: StoreFolder = None,
) -> None:
    """Let campaigns run by themselves on this machine, on a schedule or from Prefect's page."""
    use(store)
    from leadline.flows.limits import RunLimits
    from leadline.flows.serving import serve_campaigns
    from leadline.flows.timetable import timetable

    limits = RunLimits(calculations, hours, node_hours)
    served = serve_campaigns(files, set_ or (), timetable(cron, every), limits, _say)
    raise typer.Exit(0 if served else 1)


@app.command()
def deploy(
    files: Files,
    pool: Annotated[str, typer.Option(help="Work pool whose workers run them.")],
    cron: CronLine = None,
    every: Interval = None,
    calculations: Calculations = None,
    hours: WallHours = None,
    node_hours: NodeHours = None,
    set_: Changes = None,
    store: StoreFolder = None,
) -> None:
    """Register campaigns for the workers of a Prefect work pool."""
    use(store)
    from leadline.flows.console_logging import quiet_prefect
    from leadline.flows.limits import RunLimits
    from leadline.flows.serving import deploy_campaigns
    from leadline.flows.timetable import timetable

    limits = RunLimits(calculations, hours, node_hours)
    with quiet_prefect():
        deploy_campaigns(files, set_ or (), timetable(cron, every), limits, pool, _say)


@app.command()
def status(
    name: Annotated[Optional[str], typer.Argument(help="Campaign; all without it.")] = None,  # noqa: UP045
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    store: StoreFolder = None,
) -> None:
    """Say where campaigns stand."""
    use(store)
    from leadline.flows.telling import status_json, status_words

    print(status_json(name) if json else status_words(name))


@app.command()
def watch(name: Name, store: StoreFolder = None) -> None:
    """Show a campaign live while a driver works on it; Ctrl-C ends the showing alone."""
    use(store)
    from leadline.flows.onlooking import watch

    watch(name, print)


@app.command()
def show(
    name: Name,
    id: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="Start of a structure's or calculation's id, a formula, or the number of a find.",
        ),
    ],
    store: StoreFolder = None,
) -> None:
    """Show a structure or calculation: its numbers, why it was picked, its attempts."""
    use(store)
    from leadline.flows.telling import show_words

    print(show_words(name, id))


@app.command()
def report(name: Name, out: Out = None, store: StoreFolder = None) -> None:
    """Write the report of a campaign: one page of HTML that needs nothing else."""
    use(store)
    from leadline.flows.publishing import write_report
    from leadline.flows.store_of import open_for

    with open_for(write=False) as opened:
        print(write_report(opened, name, out))


@app.command()
def export(
    name: Name,
    format: Annotated[str, typer.Option(help="extxyz, ase-db, cif or json.")] = "extxyz",
    out: Out = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    store: StoreFolder = None,
) -> None:
    """Write the finished calculations of a campaign for other programs."""
    use(store)
    from leadline.flows.exporting import export

    print(export(name, format, out, force=force))


@app.command(name="import")
def import_(
    file: File,
    results: Annotated[Path, typer.Argument(help="extxyz or ASE database with energies.")],
    fingerprint: Annotated[
        str,
        typer.Option(
            help="Fingerprint of the engine that gave them; 'same' declares it this one's."
        ),
    ],
    energy_key: Annotated[str, typer.Option(help="Key of the total energy in eV.")] = "energy",
    set_: Changes = None,
    store: StoreFolder = None,
) -> None:
    """Take in results that you already have, for the campaign of FILE."""
    use(store)
    from leadline.flows.importing import import_results
    from leadline.flows.spec_file import read_spec

    spec = read_spec(file, set_ or (), os.environ)
    print(import_results(spec, results, fingerprint, energy_key))


@app.command()
def reconcile(
    name: Annotated[Optional[str], typer.Argument(help="Campaign; all without it.")] = None,  # noqa: UP045
    gone: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="HOST", help="Say that a host is gone: what ran there is cut."),
    ] = None,
    retry: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="ID", help="Take a calculation out of quarantine: id or formula."),
    ] = None,
    why: Annotated[str, typer.Option(help="Reason for --retry, kept in the log.")] = "",
    rules: Annotated[bool, typer.Option("--rules", help="Show the rules, and do nothing.")] = False,
    store: StoreFolder = None,
) -> None:
    """Settle what a crash left behind; safe at any time, and beside running campaigns."""
    use(store)
    from leadline.flows.reconcile import reconciled, retried, rules_words

    if rules:
        print(rules_words())
    elif retry is not None:
        print(retried(retry, why))
    else:
        reconciled(name, gone, print)


@app.command()
def backtest(
    file: File,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each policy.")] = 20,
    json: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--json", metavar="OUT", help="Write every pick and the summary."),
    ] = None,
    set_: Changes = None,
) -> None:
    """Run the loop over a finished data set, beside random, greedy and uncertainty."""
    from leadline.flows.backtesting import backtest_file

    print(backtest_file(file, set_ or (), seeds, json))


app.add_typer(steering)

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended, as shells know it."""
AGAIN = 0.05
"""Seconds until a Ctrl-C that came in the midst of an import is looked at again."""


def main() -> None:
    """Run the command; what is wrong is said in plain words, and exits with 2."""
    quiet_torch()
    with _noted_interrupts() as heard:
        try:
            _flushed()
        except LeadlineError as error:
            print(f"leadline: {error}", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:  # before a run takes Ctrl-C for itself nothing is to be finished
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        except Exception:
            if heard:  # pydantic, for one, makes an exception of its own of it
                sys.exit(INTERRUPTED)
            raise


def _flushed() -> None:
    try:
        app()
    finally:
        sys.stdout.flush()  # here a reader that is gone is told quietly, later it is not


@contextmanager
def _noted_interrupts() -> Iterator[list[int]]:
    """Give a list that grows by each Ctrl-C that raises KeyboardInterrupt.

    In the midst of an import it is raised when that is over: a library may take an
    exception there for its own, tell it, and go on.
    """
    heard: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if _imports(frame):
            again = threading.Timer(AGAIN, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
            return
        heard.append(number)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # somebody else answers it
        yield heard
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield heard
    finally:
        signal.signal(signal.SIGINT, before)


def _imports(frame: FrameType | None) -> bool:
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _say(line: str) -> None:
    """Print at once: whoever reads a pipe of a command that goes on for days reads along."""
    print(line, flush=True)


if __name__ == "__main__":
    main()
