"""The command line: where exceptions become exit codes, in one place.

`main` is the program. It runs the Typer app without click's own error handling, because that
answers 1 to an abort and to a closed pipe, and exit code 1 belongs to the verdict FAIL alone
(docs/commands.md). Command modules are light: each command imports what it needs in its own
body, so that `llmops --help` imports no more than typer.
"""

from __future__ import annotations

import errno
import gc
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import typer

from llmops_cli import __version__
from llmops_cli.cli.help import HelpCommand, HelpGroup
from llmops_cli.cli.options import expand_groups
from llmops_cli.core.errors import ExitCode, LlmopsError

HELP = """The release gate for LLM prompts.

Compares a prompt with what production runs, case by case, and decides: PASS, FAIL, INCOMPLETE or
INCONCLUSIVE. Versions that pass are promoted with their evidence.

Examples:
  llmops init                        start a project in this folder
  llmops eval                        compare every prompt with production
  llmops promote support@v3 -m WHY   deploy a version that passed

Exit codes: 0 passed or done, 1 verdict FAIL, 2 usage or configuration error, 3 something was not
measured, 4 inconclusive and not accepted, 70 a bug in llmops, 130 interrupted.
"""

CLICK_ERROR = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])
"""click's ClickException, wherever this typer has it: 0.28 brings its own copy of click."""

DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM}
SYSTEM_ERRORS: Mapping[int | None, ExitCode] = {
    **dict.fromkeys(DISK, ExitCode.INCOMPLETE),
    errno.ENAMETOOLONG: ExitCode.REFUSED,
    errno.ELOOP: ExitCode.REFUSED,
}
"""What is no bug in llmops; any other is."""

COLLECT_AFTER = 50_000
"""New objects between two searches for reference cycles. What start-up and cases allocate is there
to stay; looking through it after every 700, as Python does, is a twelfth of a short run."""

PANELS: Mapping[str, Sequence[str]] = {
    "Start": ("init", "check", "import"),
    "Evaluate": ("eval", "merge", "compare", "report"),
    "Release": ("release", "measure", "promote", "rollback", "status", "history", "bundle"),
    "Inspect": ("diff", "render", "models", "schema"),
    "Judges": ("calibrate",),
    "Production": ("watch", "traces"),
    "Audit and CI": ("verify", "fsck", "gc", "comment"),
}
"""Every command, by the panel of `--help` that lists it."""


def _function(name: str) -> Callable[..., object]:
    """Return the function of a command. Its module is imported for the command that is run."""
    if name in {"eval", "merge", "compare", "measure", "report", "calibrate"}:
        from llmops_cli.cli import evaluate

        return evaluate.COMMANDS[name]
    if name in {"init", "check", "import", "render", "models", "diff", "schema"}:
        from llmops_cli.cli import project

        return project.COMMANDS[name]
    if name in {"watch", "traces"}:
        from llmops_cli.cli import watch

        return watch.COMMANDS[name]
    if name == "comment":
        from llmops_cli.cli.github import comment

        return comment
    from llmops_cli.cli import registry

    return registry.COMMANDS[name]


def _nothing() -> None:
    """A placeholder for a command that isn't run."""


def _version(requested: bool) -> None:
    if requested:
        print(f"llmops {__version__}")
        raise typer.Exit


def _root(
    context: typer.Context,
    project_folder: Path = typer.Option(
        Path(), "--project", "-C", metavar="DIR", help="Run as if started in DIR."
    ),
    _wants_version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    from llmops_cli.core.ports import listen

    context.obj = project_folder
    listen(_waiting)


def full_app() -> typer.Typer:
    """Return the app with all commands and all their options."""
    return _app({name: _function(name) for names in PANELS.values() for name in names})


def _app_for(arguments: list[str]) -> typer.Typer:
    """Return the app with the commands that `arguments` may mean, and the names of the others.

    Importing every command and building all options would take longer than `--help` may. So help
    has the commands without options; a command that is run is alone with its own.
    """
    if any(name.endswith("_COMPLETE") for name in os.environ):
        return full_app()  # a shell completes the options of any command
    names = [name for panel in PANELS.values() for name in panel]
    return _app({name: _function(name) for name in names if name in arguments})


def _app(functions: Mapping[str, Callable[..., object]]) -> typer.Typer:
    """Return the app with the commands of `functions`; of the others the name, and perhaps help."""
    app = typer.Typer(
        name="llmops",
        cls=HelpGroup,
        help=HELP,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for panel, names in PANELS.items():
        for name in names:
            known = functions.get(name)
            text = None if known or functions else _function(name).__doc__
            command = app.command(name, cls=HelpCommand, rich_help_panel=panel, help=text)
            command(expand_groups(known) if known else _nothing)
    return app


def main() -> None:
    """Run llmops and leave with the exit code that docs/commands.md gives."""
    gc.set_threshold(COLLECT_AFTER)
    # Numpy starts threads to multiply matrices: a fifth of a short run's CPU, for none here.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # A parent may have closed them (`>&-`): what is printed then goes nowhere, and breaks nothing.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, PTH123 - until the end
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115, PTH123 - until the end
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run `llmops *arguments`, print its output, and return its exit code."""
    try:
        code = _run(arguments)
    except BrokenPipeError:
        code = ExitCode.BROKEN_PIPE
    except SystemExit as left:
        if not isinstance(left.__context__, BrokenPipeError):
            raise
        code = ExitCode.BROKEN_PIPE  # where the parser's own handler says 1
    try:
        sys.stdout.flush()
    except OSError as error:
        # What is left to print must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return ExitCode.BROKEN_PIPE
        return _say(f"{error.strerror} (standard output)", code=ExitCode.INCOMPLETE)
    return code


def _run(arguments: list[str]) -> int:
    try:
        answer = typer.main.get_command(_app_for(arguments)).main(
            arguments, prog_name="llmops", standalone_mode=False
        )
    except typer.Abort:
        return _say("interrupted", code=ExitCode.INTERRUPTED)
    except CLICK_ERROR as error:
        error.show(sys.stderr)
        return ExitCode.REFUSED
    except LlmopsError as error:
        return _say(error.message, hint=error.hint, code=error.exit_code)
    except KeyboardInterrupt:
        return _say("interrupted", code=ExitCode.INTERRUPTED)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _system_error(error)
    except Exception as error:  # noqa: BLE001 - the last stop: a bug is told as one, never as 1
        return _bug(error)
    return int(answer or 0)


def _system_error(error: OSError) -> int:
    if error.errno == errno.ENOENT and error.filename is None:  # asked where we are
        message = "the current folder does not exist any more"
        return _say(message, hint="cd to another one, or name it: -C", code=ExitCode.REFUSED)
    if error.errno not in SYSTEM_ERRORS:
        return _bug(error)
    where = f" ({error.filename})" if error.filename else ""
    return _say(f"{error.strerror}{where}", code=SYSTEM_ERRORS[error.errno])


@contextmanager
def _waiting(what: str) -> Iterator[None]:
    """Show on standard error what is waited for."""
    from llmops_cli.cli.output import Output

    with Output().progress() as progress:
        progress.waiting(what)
        yield
        progress.waiting("")


def _say(message: str, *, code: ExitCode, hint: str | None = None) -> int:
    from llmops_cli.cli.output import print_error

    print_error(message, hint)
    return code


def _bug(error: BaseException) -> int:
    """Write what an issue needs into a log in the user's cache, and say where it is.

    Where a crash came from, the project may never have been read. So every variable of the
    environment that a project file merely mentions counts as a secret here, whatever it is called.
    """
    import platform

    from platformdirs import user_log_path

    from llmops_cli.core.redact import Redactor

    mentioned = {word for text in _project_files(sys.argv) for word in re.findall(r"\w+", text)}
    redact = Redactor.of(os.environ, mentioned)
    log = f"""llmops {__version__}, Python {platform.python_version()}, {platform.platform()}
$ {" ".join(sys.argv)}

{"".join(traceback.format_exception(error))}"""
    try:
        path = user_log_path("llmops", ensure_exists=True) / f"bug-{os.getpid()}.log"
        path.write_text(redact(log), encoding="utf-8", errors="replace")
        hint = f"the log to paste into an issue: {path}"
    except OSError:
        hint = "no log could be written"
    what = redact(f"{type(error).__name__}: {error}".splitlines()[0])
    return _say(f"a bug in llmops: {what}", hint=hint, code=ExitCode.BUG)


def _project_files(arguments: Iterable[str]) -> Iterator[str]:
    """Yield the text of every project file around this folder and those in `arguments`."""
    named = {Path(), *(Path(argument.rpartition("=")[2]) for argument in arguments)}
    with suppress(OSError, ValueError):  # a crash handler must not crash itself
        for start in named:
            for folder in (start.resolve(), *start.resolve().parents):
                path = folder / "llmops.yaml"
                if path.is_file():
                    yield path.read_text(encoding="utf-8", errors="replace")


if hasattr(signal, "SIGPIPE"):  # pragma: no branch - every platform but Windows
    # Python turns SIGPIPE into BrokenPipeError already; nothing else may be set by a parent.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
