"""``asya flow compile`` and ``asya flow validate``: options, order of steps, exit codes. The work is in `asya_cli.flow` and `asya_flowc`.

Exit codes: 0 done (warnings allowed), 1 any error, reading and writing included, 2 usage.
"""

import json
import os
import shlex
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asya_cli.main import talk_of, talk_options
from asya_cli.output import Format, Talk

if TYPE_CHECKING:
    from asya_flowc import Compilation, Diagnostic, Flow, Options, Program

__all__ = ["flow"]

_HELP = {"help_option_names": ["-h", "--help"]}


@click.group(context_settings=_HELP)
def flow() -> None:
    """Turn a Python function into router actors.

    The language: docs/reference/flow-language.md.
    """


def _passes(ctx: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    if given:
        from asya_flowc import PASSES

        for name in given:
            if name not in PASSES:
                raise click.BadParameter(f"{name!r} is no pass; expected one of {', '.join(PASSES)}", ctx, parameter)
    return given


def _subflows(ctx: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    pairs = dict(one.partition("=")[::2] for one in given)
    for name, how in pairs.items():
        if how not in ("inline", "actor"):
            raise click.BadParameter(f"{name}={how} says no way; expected NAME=inline or NAME=actor", ctx, parameter)
    return pairs


def _shared(command: Callable[..., None]) -> Callable[..., None]:
    """The options that shape a compilation in both commands."""
    for option in (
        click.option(
            "--max-iterations",
            type=click.IntRange(min=0),
            default=100,
            show_default=True,
            metavar="N",
            help="Turns of a while loop each time it is reached; 0: no bound.",
        ),
        click.option("--actors", metavar="DIR", help="Values files of your handlers; their names are the actors'."),
        click.option("--flow", "flow_name", metavar="NAME", help="The flow function, if the file has several."),
        click.option("--disable-infinite-loop-check", is_flag=True, help="Skip infinite loop detection."),
        click.option(
            "--print-after",
            metavar="PASS",
            multiple=True,
            callback=_passes,
            help="Print the compiler's intermediate form after this pass on stderr; may be repeated.",
        ),
        click.option("--subflow", metavar="NAME=HOW", multiple=True, callback=_subflows, hidden=True),  # refused by the compiler: FLOW413
    ):
        command = option(command)
    return command


def _image(ctx: click.Context, parameter: click.Parameter, text: str | None) -> Any:
    from asya_flowc import Image

    try:
        return Image.parse(text) if text is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, parameter) from None


@flow.command(context_settings=_HELP)
@click.argument("file", metavar="FILE")
@click.option("--output-dir", "-o", metavar="DIR", required=True, help="Where routers.py, flow.dot, flow.json and values/ are written.")
@click.option("--plot", is_flag=True, help="Generate flow.png beside flow.dot (needs Graphviz).")
@click.option(
    "--plot-width",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    metavar="WIDTH",
    help="Maximum width for node labels, in characters.",
)
@click.option("--overwrite", is_flag=True, help="Overwrite the compiler's files in an existing output directory.")
@click.option("--image", metavar="REPO:TAG", callback=_image, help="Image that holds routers.py; without it the values hold the code.")
@click.option("--transport", type=click.Choice(["rabbitmq", "sqs"]), help="Written into the values; without it the chart's default.")
@click.option(
    "--routers",
    type=click.Choice(["per-actor", "folded"]),
    default="per-actor",
    show_default=True,
    help="One actor a router, or one actor for all routers of the flow.",
)
@click.option(
    "--end-router",
    type=click.Choice(["route", "skip"]),
    default="route",
    show_default=True,
    help="Whether ways out of the flow pass its end router.",
)
@click.option("--stubs", is_flag=True, help="Also write starter values for handlers that --actors does not have.")
@_shared
@talk_options
@click.pass_context
def compile(ctx: click.Context, /, file: str, output_dir: str, **given: Any) -> None:
    """Compile the flow in FILE (- is standard input) into DIR."""
    run = _Run(ctx, file, given)
    run.guarded(lambda: _compile(run, Path(os.path.normpath(output_dir))))


@flow.command(context_settings=_HELP)
@click.argument("file", metavar="FILE")
@_shared
@talk_options
@click.pass_context
def validate(ctx: click.Context, /, file: str, **given: Any) -> None:
    """Check the flow in FILE (- is standard input); write nothing."""
    run = _Run(ctx, file, given)

    def check() -> None:
        done = run.compiled(run.options())
        run.finish(done, f"[+] Flow is valid: {done.flow}", files=[])

    run.guarded(check)


class _Run:
    """One call of a command: what was given, what is told."""

    def __init__(self, ctx: click.Context, file: str, given: dict[str, Any]) -> None:
        self.ctx = ctx
        self.file = file
        self.given = given
        self.talk: Talk = talk_of(ctx, **{key: given.pop(key) for key in ("output_format", "quiet", "verbose", "no_color")})
        self.found: "list[Diagnostic]" = []  # noqa: UP037 - imported for types only
        self.is_json = self.talk.format is Format.JSON

    def options(self, **more: Any) -> "Options":
        """The compiler's options. Raises Failed for ``--actors`` that cannot be read."""
        from asya_cli.flow.sources import read_actors
        from asya_flowc import Options

        given = self.given
        return Options(
            flow=given["flow_name"],
            actors=None if given["actors"] is None else read_actors(given["actors"]),
            infinite_loop_check=not given["disable_infinite_loop_check"],
            max_iterations=given["max_iterations"],
            subflows=given["subflow"],
            **more,
        )

    def compiled(self, options: "Options") -> "Compilation":
        """The compilation, its warnings shown; ends the command with 1, all errors shown, if the flow is refused."""
        from asya_cli.flow.sources import check_module_name, read_source
        from asya_cli.flow.told import detail, show
        from asya_flowc import compile_source

        text = read_source(self.file)
        done = compile_source(text, self.file, options, watch=self.watched)
        self.found = done if isinstance(done, list) else list(done.warnings)
        show(self.talk, self.found, text, self.file)
        if isinstance(done, list):
            self._document(None)
            self.ctx.exit(1)
        check_module_name(done.handlers.values(), self.file)
        detail(self.talk, done)
        return done

    def watched(self, name: str, form: "Flow | Program") -> None:
        """Tell of a pass of the compiler, and print what came out of it if --print-after names it."""
        from asya_flowc import print_form

        self.talk.detail(f"pass {name}")
        if name in self.given["print_after"]:
            for line in (f"-- after {name} --", *print_form(form).split("\n")[:-1]):
                self.talk.line(line)

    def guarded(self, work: Callable[[], None]) -> None:
        """Run `work`; in JSON a failure is a document too."""
        from asya_cli.errors import Failed

        try:
            work()
        except Failed as error:
            self._document(None, failure=error.message)
            raise

    def finish(self, done: "Compilation", *lines: str, files: list[str]) -> None:
        """Tell that it is done: lines on stdout, or the document there and the lines on stderr."""
        for line in lines:
            (self.talk.line if self.is_json else self.talk.data)(line)
        self._document(done.flow, files=files)

    def _document(self, name: str | None, *, files: list[str] | None = None, failure: str = "") -> None:
        from asya_cli.flow.told import document

        if self.is_json:
            self.talk.data(document(file=self.file, flow=name, found=self.found, files=files or [], failure=failure))


def _compile(run: _Run, folder: Path) -> None:
    from asya_cli.flow.folder import check_folder, write_folder
    from asya_cli.flow.plot import PlotFailed, png_of
    from asya_cli.flow.sources import STDIN

    check_folder(folder, overwrite=run.given["overwrite"])
    source_name = "" if run.file == STDIN else _beside(run.file, folder)
    shaping = {key: run.given[key] for key in ("image", "routers", "end_router", "plot_width", "stubs")}
    command = _command(run.given, source_name or STDIN, folder)
    options = run.options(**shaping, transport=run.given["transport"] or "", source_name=source_name, command=command)
    done = run.compiled(options)
    files = {name: text.encode() for name, text in done.artifacts.items()}
    if run.given["plot"]:
        try:
            files = _with_picture(files, png_of(done.artifacts["flow.dot"]))
        except PlotFailed as error:
            run.talk.warning(str(error))
    write_folder(folder, files)
    values = [name for name in files if name.startswith("values/")]
    run.talk.info(f"Generated flow graph: {folder / 'flow.json'}")
    run.talk.info(f"Generated {len(values)} values files in: {folder / 'values'}")
    lines = [f"[+] Successfully compiled flow to: {folder / 'routers.py'}", f"[+] Generated graphviz dot file: {folder / 'flow.dot'}"]
    if "flow.png" in files:
        lines.append(f"[+] Generated graphviz png plot: {folder / 'flow.png'}")
    run.finish(done, *lines, files=[str(folder / name) for name in files])


def _with_picture(files: dict[str, bytes], png: bytes) -> dict[str, bytes]:
    """`files` with ``flow.png``, which ``flow.json`` lists like the others."""
    graph = json.loads(files["flow.json"])
    graph["files"] = dict(sorted({**graph["files"], "flow.png": sha256(png).hexdigest()}.items()))
    text = json.dumps(graph, indent=2, ensure_ascii=False) + "\n"
    return {**{name: data for name, data in files.items() if name != "flow.json"}, "flow.png": png, "flow.json": text.encode()}


def _beside(path: str, folder: Path) -> str:
    """`path` as seen from the output folder, so that the output is the same wherever both are moved together."""
    return Path(os.path.relpath(path, folder)).as_posix()


def _command(given: dict[str, Any], source: str, folder: Path) -> str:
    """The command as it would be given in the output folder."""
    words = ["asya", "flow", "compile", source, "--output-dir", "."]
    if given["flow_name"]:
        words += ["--flow", given["flow_name"]]
    if given["actors"] is not None:
        words += ["--actors", _beside(given["actors"], folder)]
    if given["image"] is not None:
        image = given["image"]
        words += ["--image", f"{image.repository}@{image.digest}" if image.digest else f"{image.repository}:{image.tag}"]
    for key, default in (("transport", None), ("routers", "per-actor"), ("end_router", "route"), ("max_iterations", 100)):
        if given[key] != default:
            words += [f"--{key.replace('_', '-')}", str(given[key])]
    words += [f"--{key.replace('_', '-')}" for key in ("disable_infinite_loop_check", "stubs") if given[key]]
    return shlex.join(words)
