"""`asya plan`: folders, projects, Git revisions; what is queued for whom a change removes, on real brokers."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asya_cli.dlq.mailbox import Mailbox
from asya_cli.run.broker import Broker, EmbeddedBroker, RabbitBroker
from tests import forked

COMPILED = Path(__file__).parents[4] / "examples" / "flows" / "compiled" / "text_analysis_flow"
PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "change-a-flow.md"
Done = "subprocess.CompletedProcess[str]"


def environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "NO_COLOR": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}


@pytest.fixture
def asya(tmp_path: Path) -> Callable[..., Done]:
    return lambda *words: forked.run_text(["plan", *map(str, words)], cwd=tmp_path, env=environment(tmp_path))


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """The compiled flow without one handler, with another one under another name, and one value changed."""
    new = tmp_path / "new"
    shutil.copytree(COMPILED, new)
    handlers = new / "values" / "_handlers"
    (handlers / "spanish-sentiment.yaml").unlink()
    (handlers / "tokenize.yaml").rename(handlers / "tokenise.yaml")
    start = new / "values" / "start-text-analysis-flow.yaml"
    start.write_text(start.read_text().replace('tag: "v1"', 'tag: "v2"'))
    return new


def test_change_is_told_line_by_line(asya: Callable[..., Done], changed: Path) -> None:
    done = asya(COMPILED, changed)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "- spanish-sentiment: removed",
        "> tokenize → tokenise: renamed, with a queue of its own",
        "~ start-text-analysis-flow: restarts",
        '    image.tag: "v1" → "v2" (restarts)',
    ]
    assert "Works on until nothing is on its way to it, for drainTimeout at most: spanish-sentiment, tokenize" in done.stderr
    assert "was not looked at" not in done.stderr
    assert "spanish-sentiment, tokenize was not looked at" in asya(COMPILED, changed, "--no-drain").stderr


def test_same_folder_is_no_difference(asya: Callable[..., Done]) -> None:
    done = asya(COMPILED, COMPILED)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "[.] No difference\n")
    told = json.loads(asya(COMPILED, COMPILED, "--output", "json").stdout)
    assert (told["is_empty"], told["stranded"]) == (True, {})


def test_revision_is_compared_with_the_work_tree(asya: Callable[..., Done], tmp_path: Path) -> None:
    actors = tmp_path / "deploy" / "actors"
    actors.mkdir(parents=True)
    (actors / "judge.yaml").write_text("handler: judge.score\nscaling: {maxReplicas: 5}\n")
    (actors / "old.yaml").write_text("handler: judge.old\nenabled: true\n")

    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=tmp_path, env=environment(tmp_path), check=True, capture_output=True)

    git("init", "-q")
    git("add", ".")
    git("-c", "user.name=Test", "-c", "user.email=test@example.com", "commit", "-q", "-m", "First")
    (actors / "judge.yaml").write_text("handler: judge.score\nscaling: {maxReplicas: 10}\n")
    (actors / "old.yaml").write_text("handler: judge.old\nenabled: false\n")
    told = json.loads(asya("HEAD:deploy", "deploy", "--output", "json").stdout)
    assert [each["name"] for each in told["removed"]] == ["old"]
    (judge,) = told["changed"]
    assert (judge["effect"], judge["changes"]) == (
        "scales, no restart",
        [{"key": "scaling.maxReplicas", "old": 5, "new": 10, "effect": "scales, no restart"}],
    )
    one = asya("HEAD:deploy/actors/judge.yaml", "deploy/actors/judge.yaml")
    assert one.stdout.splitlines()[0] == "~ judge: scales, no restart"
    for mistake in (("NOREV:deploy", "deploy"), ("HEAD:nowhere", "deploy"), ("-x:deploy", "deploy"), ("HEAD:/deploy", "deploy")):
        done = asya("--", *mistake)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 2), done.stderr


@pytest.mark.parametrize(
    ("text", "problem"),
    [("handlr: x.y\n", "unknown key handlr"), ("a: [\n", "a.yaml"), ("- 1\n", "values are a list"), (b"\xff", "not UTF-8")],
)
def test_bad_values_are_one_line_and_a_hint(asya: Callable[..., Done], tmp_path: Path, text: str | bytes, problem: str) -> None:
    (tmp_path / "a.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    done = asya(".", COMPILED)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 2)
    assert problem in done.stderr


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([COMPILED, "nowhere"], "There is no file or folder nowhere"),
        ([COMPILED, "."], "has no values files of actors"),
        ([COMPILED, COMPILED, "--namespace", "shop"], "--namespace needs a broker"),
        ([COMPILED, COMPILED, "--context", "x"], "--context needs --kube"),
        ([COMPILED, COMPILED, "--queue-file", "none.db", "--namespace", "shop"], "There is no queue file"),
    ],
)
def test_mistake_is_two_lines_and_exit_2(asya: Callable[..., Done], words: list[str], problem: str) -> None:
    done = asya(*words)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 2), done.stderr
    assert problem in done.stderr


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Broker, str, list[str]]]:
    """A broker with a namespace of three actors, and the options that name it."""
    namespace = f"plan-{os.urandom(4).hex()}"
    made: Broker
    if request.param == "embedded":
        file = tmp_path / "queues.db"
        made, options = EmbeddedBroker(path=file), ["--queue-file", str(file)]
    else:
        url = os.environ.get("ASYA_TEST_RABBITMQ_URL")
        if not url:
            if os.environ.get("CI"):
                pytest.fail("ASYA_TEST_RABBITMQ_URL is not set; run ci/services.sh start")
            pytest.skip("ASYA_TEST_RABBITMQ_URL is not set")
        made, options = RabbitBroker(url=url, password_file=tmp_path / "password"), ["--broker-url", url]
    actors = ["clean-text", "tokenize", "spanish-sentiment"]
    made.declare(namespace, actors)
    yield made, namespace, [*options, "--namespace", namespace]
    admin = made.admin(namespace)
    for actor in actors:
        admin.purge(f"asya-{namespace}-{actor}")
    admin.close()
    made.remove(namespace, actors)


@pytest.mark.behaviour("plan:stranded")
def test_removal_that_would_strand_messages_exits_1_if_the_actor_does_not_work_on(
    asya: Callable[..., Done], changed: Path, broker: tuple[Broker, str, list[str]]
) -> None:
    made, namespace, options = broker
    assert asya(COMPILED, changed, *options).returncode == 0  # nothing is queued; two actors have no queue at all
    mailbox = Mailbox(lambda: made.transport(namespace))
    for actor, count in (("spanish-sentiment", 2), ("clean-text", 3)):
        for _ in range(count):
            mailbox.send(f"asya-{namespace}-{actor}", b"{}")
    mailbox.close()
    assert asya(COMPILED, changed, *options).returncode == 0, "both work on"
    done = asya(COMPILED, changed, *options, "--no-drain")
    assert done.returncode == 1
    assert "- spanish-sentiment: removed; 2 queued, 3 in queues before it" in done.stdout
    assert "> tokenize → tokenise: renamed, with a queue of its own; 0 queued, 3 in queues before it" in done.stdout
    assert done.stderr.splitlines()[-2] == "[-] 5 messages may be stranded: spanish-sentiment, tokenize"
    told = json.loads(asya(COMPILED, changed, *options, "--no-drain", "--output", "json").stdout)
    assert told["stranded"] == {"spanish-sentiment": 5, "tokenize": 3}
    assert told["removed"] == [{"name": "spanish-sentiment", "drains": False, "queued": 2, "queued_before": 3}]
    told = json.loads(asya(COMPILED, changed, *options, "--output", "json").stdout)
    assert told["stranded"] == {}
    assert told["removed"] == [{"name": "spanish-sentiment", "drains": True, "queued": 2, "queued_before": 3}]
    assert asya(COMPILED, COMPILED, *options).returncode == 0
    # The page's commands, in a repository whose last commit has the flow as it was.
    folder = changed.parent
    shutil.copytree(COMPILED, folder / "flow")
    for words in (["init", "-q"], ["add", "flow"], ["-c", "user.name=T", "-c", "user.email=t@example.com", "commit", "-q", "-m", "Flow"]):
        subprocess.run(["git", *words], cwd=folder, env=environment(folder), check=True, capture_output=True)
    shutil.rmtree(folder / "flow")
    changed.rename(folder / "flow")
    page = PAGE.read_text(encoding="utf-8")
    codes = []
    for line in "".join(re.findall(r"```sh\n(.*?)```", page, re.S)).splitlines():
        words = line.replace('--broker-url "$BROKER_URL" --namespace shop', " ".join(options)).split()
        done = asya(*words[2:])
        codes.append(done.returncode)
        assert all(told in page for told in done.stdout.splitlines()[:1] if told.startswith("-")), done.stdout
    assert codes == [0, 0, 0, 1]
