"""`tfnoisekd methods`."""

import click

NOTES = (
    "CE: cross-entropy. KL: Hinton's divergence, times the square of --temperature. AT, SP, RKD-D, RKD-A: attention "
    "maps, similarities, distances and angles of the layers that --layers names.",
    "+h adds Hinton's loss and +ft that of the fickle teacher, with Eq. 1's weights: at+h, rkd-da+ft.",
    "Any method takes noise on the student's input (--sigma) and on the labels of each batch (--rate).",
)


@click.command()
def command():
    """List the methods that --method takes."""
    from rich.console import Console
    from rich.table import Table

    from tfnoisekd import methods

    table = Table()
    for heading in ("method", "what it does", "loss", "noise", "paper"):
        table.add_column(heading, no_wrap=heading == "method")
    for row in (*methods.BASIC, *methods.COMPARED):
        noise = ", ".join(f"--{key} {value}" for key, value in row.defaults.items())
        name = f"{row.name} +h +ft" if row in methods.COMPARED else row.name
        table.add_row(name, row.summary, row.formula, noise or "-", row.section)
    console = Console(markup=False, highlight=False)
    console.print(table)
    for line in NOTES:
        console.print(line)
