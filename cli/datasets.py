"""`tfnoisekd datasets`."""

import click


@click.command()
def command():
    """List the data sets that --data takes."""
    from rich.console import Console
    from rich.table import Table

    from tfnoisekd import data

    table = Table()
    for heading in ("--data", "what it is", "download", "example"):
        table.add_column(heading)
    for source in data.sources():
        table.add_row(source.pattern, source.description, "first use" if source.download else "-", source.example)
    # Markup off: descriptions hold square brackets.
    Console(markup=False).print(table)
