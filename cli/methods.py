"""`tfnoisekd methods`."""

import click


@click.command()
def command():
    """List the methods that --method takes."""
    from rich.console import Console
    from rich.table import Table

    from tfnoisekd import methods

    table = Table()
    for heading in ("method", "what it does", "defaults", "paper"):
        table.add_column(heading)
    for row in methods.TABLE.values():
        defaults = ", ".join(f"--{key} {value}" for key, value in row.defaults.items())
        table.add_row(row.name, row.summary, defaults or "-", f"section {row.section}")
    Console(markup=False).print(table)
