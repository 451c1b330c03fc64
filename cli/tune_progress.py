"""Shows a search: a line for each trial that ends."""

import click

from tfnoisekd.cli.clock import clock


class Lines:
    """Prints a line for each trial that ends.

    Args:
        folder: `folder.Folder` of the search.
    """

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, entry):
        """Prints what became of a trial, the dict that the folder has of it."""
        times = [each["finished_at"] for each in self.folder.entries() if each["status"] != "running"]
        ended = sum(time <= entry["finished_at"] for time in times)
        values = "  ".join(f"{name} {value:g}" for name, value in entry.get("values", {}).items())
        click.echo(f"[{ended}/{self.folder.search.wanted}] trial {entry['trial']}  {_result(entry)}  {values}")


def _result(entry):
    if entry["status"] != "finished":
        return f"failed: {entry['error']}"
    epochs = f"  {entry['epochs']} epochs" if entry["epochs"] else ""
    return f"validation accuracy {entry['accuracy']:.2%}{epochs}  {clock(entry['seconds'])}"
