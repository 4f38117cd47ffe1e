"""The commands by which a person steers a campaign that runs: review, set, cancel."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from leadline.flows.cli_options import Name, StoreFolder, use

steering = typer.Typer()

Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, for the record.")]


@steering.command()
def review(
    name: Name,
    approve: Annotated[
        str, typer.Option(metavar="RANK,...", help="Approve picks by rank, or `all`.")
    ] = "",
    veto: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads it at run time
        typer.Option(metavar="RANK", help="Veto a pick; --why says the reason."),
    ] = None,
    why: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="TEXT", help="The reason: one for all, or one for each --veto."),
    ] = None,
    add: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="ID", help="Calculate a candidate as well: id or formula."),
    ] = None,
    order: Annotated[
        str, typer.Option(metavar="RANK,...", help="Start approved picks in this order.")
    ] = "",
    store: StoreFolder = None,
) -> None:
    """Show the picks that wait for a person with their reasons, and decide about them."""
    use(store)
    from leadline.flows.review_command import Asked, reviewed

    reviewed(name, Asked(approve, veto or (), why or (), add or (), order), print)


@steering.command(name="set")
def set_(
    name: Name,
    changes: Annotated[
        list[str],
        typer.Argument(metavar="KEY=VALUE...", help="New values, e.g. stop.calculations=50."),
    ],
    why: Why = "",
    store: StoreFolder = None,
) -> None:
    """Change settings of a campaign while it runs, or for its next run."""
    use(store)
    from leadline.flows.setting import change

    print(change(name, changes, why))


@steering.command()
def cancel(
    name: Name,
    rest: Annotated[
        bool, typer.Option("--rest", help="Finish what runs, and start nothing more.")
    ] = False,
    why: Why = "",
    store: StoreFolder = None,
) -> None:
    """End the run that works on a campaign, wherever it does; what was finished is kept."""
    use(store)
    from leadline.flows.stopping import cancel

    cancel(name, why, rest=rest, say=print)
