"""`tfnoisekd`: finds the command, and turns what goes wrong into one line and an exit code."""

import importlib
import io
import os
import shlex
import sys
import warnings

import click

from tfnoisekd.experiments.resources import prefer_onednn

# name -> one line of help. The module tfnoisekd.cli.<name> is imported only when its command runs.
COMMANDS = {
    "train": "Train a student, and its teacher first where there is none.",
    "evaluate": "Judge models: accuracy, calibration, attacks, corruptions, other data, certificates.",
    "sweep": "Carry out grids of runs: the paper's tables and figures, or your own.",
    "tune": "Search settings of a method: which noise, which weight, which temperature.",
    "report": "Make tables, figures and a page of sweeps, beside the paper's numbers.",
    "export": "Write the student as TFLite, ONNX or SavedModel, each proven on real images.",
    "methods": "List the methods that --method takes.",
    "datasets": "List the data sets that --data takes.",
    "info": "Show what a run did, with what, and how it came out.",
}
# What a person mends by other input or another place; the rest went wrong in the work itself.
WRONG_INPUT = (ValueError, LookupError, FileNotFoundError, FileExistsError, NotADirectoryError, PermissionError)
WRONG_INPUT += (ConnectionError, BlockingIOError, ImportError)


class LazyGroup(click.Group):
    """Commands by name, imported on use, so that help is instant."""

    def list_commands(self, context):
        return list(COMMANDS)

    def get_command(self, context, name):
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"tfnoisekd.cli.{name}").command

    def resolve_command(self, context, args):
        name = args[0]
        if name not in COMMANDS:
            from tfnoisekd.names import nearest

            known = ", ".join(COMMANDS)
            raise click.UsageError(f"There is no command `{name}`: there are {known}.{nearest(name, COMMANDS)}")
        return super().resolve_command(context, args)

    def format_commands(self, context, formatter):
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tfnoisekd")
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
def cli(debug):
    """Noise as a resource for knowledge distillation: train compact students, judge them, ship them.

    \b
    tfnoisekd train --method mc --rate 0.1     train on the embedded digits
    tfnoisekd export --tflite                  write the newest student for a device
    """


def main(args=None):
    """Console entry point. Exit codes: 0 done, 1 failed while working, 2 wrong input, 130 interrupted."""
    args = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in args
    # Anywhere on the line, not only before the command.
    args = [arg for arg in args if arg != "--debug"]
    # TensorFlow's start-up notes are not this program's output. A user's own setting wins.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    prefer_onednn()
    warnings.showwarning = _show_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that can't show a class name still shows the rest
    try:
        code = cli.main(args, prog_name="tfnoisekd", standalone_mode=False, obj=shlex.join(["tfnoisekd", *args]))
    except (KeyboardInterrupt, click.exceptions.Abort):  # click makes the one into the other
        _say(
            "Interrupted. A training goes on with `tfnoisekd train --resume RUN`, an evaluation with the same command."
        )
        code = 130
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        code = 2
    except click.ClickException as error:
        _say(error.format_message())
        code = 2
    except Exception as error:
        if debug:
            raise
        _say(_one_line(error))
        code = 2 if isinstance(error, WRONG_INPUT) else 1
    sys.exit(code if isinstance(code, int) else 0)


def _show_warning(message, category, filename, lineno, file=None, line=None):
    print(f"Warning: {message}", file=sys.stderr)


def _say(message):
    print(f"Error: {message}", file=sys.stderr)


def _one_line(error):
    message = " ".join(str(error).split()) or type(error).__name__
    known = isinstance(error, (ValueError, OSError, ArithmeticError, ImportError)) or type(error).__module__.startswith(
        "tfnoisekd"
    )
    return message if known else f"{type(error).__name__}: {message} (--debug shows where)"
