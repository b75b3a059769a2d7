"""What a user may get wrong: one line, one hint, the code of docs/reference/exit-codes.md, no traceback of ours."""

import os

import pytest

RUN = ["--route", "upper", "--input", "1"]
RABBIT = [*RUN, "--transport", "rabbitmq"]
CASES = {
    "wrong function": (["--set", "upper.handler=handlers.uper", *RUN], 2, "'handlers' has no 'uper'", "handlers.upper"),
    "wrong module": (["--set", "upper.handler=handler.upper", *RUN], 2, "no module 'handler'", "handlers"),
    "missing default": (["--set", "upper.handler=handlers.Needs.process", *RUN], 2, "'path_of_model' has no default", "PATH_OF_MODEL"),
    "unknown actor": (["--route", "uper", "--input", "1"], 2, "--route: route names actor 'uper'", "did you mean upper?"),
    "end actor": (["--route", "happy-end", "--input", "1"], 2, "happy-end is an end actor", "leave it out"),
    "empty entry": (["--route", "upper,,odd", "--input", "1"], 2, "has an empty entry", "a,b:step,c"),
    "no route": (["--input", "1"], 2, "No route is given, and there are 6 actors", "--route"),
    "bad JSON": (["--route", "upper", "--input", '{"a":\n ]'], 2, "Input (--input): line 2, column 2:", "give JSON"),
    "key twice": (["--route", "upper", "--input", '{"a": 1, "a": 2}'], 2, "key 'a' is given twice", "give JSON"),
    "NaN": (["--route", "upper", "--input", "NaN"], 2, "NaN is no JSON number", "give JSON"),
    "no input file": (["--route", "upper", "--input", "@none.json"], 2, "Input file none.json cannot be read", "after the @"),
    "unknown key by --set": (["--set", "upper.handlerMod=payload", *RUN], 2, "unknown key handlerMod", "did you mean handlerMode?"),
    "--set of nobody": (["--set", "uper.handler=a.b", "--input", "1"], 2, "--set names actor 'uper'", "did you mean upper?"),
    "--only of nobody": (["--only", "uper", *RUN], 2, "--only names actor 'uper'", "did you mean upper?"),
    "nothing to do": (["--route", "upper"], 2, "Nothing to do", "--input"),
    "unknown option": (["--rout", "upper"], 2, "No such option '--rout'", "--help"),
    "bad duration": ([*RUN, "--grace", "soon"], 2, "--grace 'soon' is no duration", "30s"),
    "no broker URL": ([*RABBIT], 2, "--transport rabbitmq needs a broker", "--broker-url"),
    "no broker URL scheme": (
        [*RABBIT, "--broker-url", "http://u:secret@h"],
        2,
        "Broker URL begins with 'http'",
        "amqp://",
    ),
    "broker unreachable": (
        [*RABBIT, "--broker-url", "amqp://u:secret@127.0.0.1:1"],
        3,
        "Broker 127.0.0.1:1 cannot be reached",
        "check",
    ),
    "nobody serves": ([*RUN, "--attach"], 3, "Nobody serves", "--serve"),
}


@pytest.mark.behaviour("run:errors-in-one-line")
@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_line_and_a_hint_and_leaves_nothing_behind(project, case, tmp_path):
    arguments, code, message, hint = CASES[case]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = project.run(*arguments, TMPDIR=str(scratch))
    first, second = done.stderr.splitlines()
    assert first.startswith("[-] ")
    assert message in first
    assert second.startswith("    hint: ")
    assert hint in second
    assert done.returncode == code
    assert done.stdout == ""
    assert "secret" not in done.stderr
    assert list(scratch.iterdir()) == []


VALUES = {
    "not YAML": ("handler: [", "actors/bad.yaml:1:11: "),
    "tab": ("handler: a.b\n\tenv: 1", "actors/bad.yaml:2:1: "),
    "unknown key": ("handler: a.b\nscaling:\n  maxReplica: 3\n", "actors/bad.yaml:3:3: unknown key scaling.maxReplica"),
    "key twice": ("handler: a.b\nhandler: a.c\n", "actors/bad.yaml:2:1: key handler is given twice, first in line 1"),
    "no handler": ("timeout: 5m\n", "actors/bad.yaml: handler is not set"),
    "bad duration": ("handler: a.b\ntimeout: 5 minutes\n", 'actors/bad.yaml:2:1: timeout is "5 minutes"; expected a duration'),
    "timeout too long": ("handler: a.b\ntimeout: 25h\n", "actors/bad.yaml: timeout 25h is out of bounds"),
    "truth as name": ("handler: a.b\nenv: {on: x}\n", "actors/bad.yaml:2:7: YAML reads the key on as a truth value"),
    "number that Helm alters": ("handler: a.b\nenv: {ID: 9007199254740992}\n", "env.ID is 9007199254740992"),
    "Asya's own variable": ("handler: a.b\nenv: {ASYA_SOCKET: x}\n", "env.ASYA_SOCKET belongs to Asya"),
    "not UTF-8": (b"handler: \xff", "actors/bad.yaml: byte 9 is not UTF-8"),
    "no mapping": ("- 1\n", "actors/bad.yaml: values are a list"),
}


@pytest.mark.parametrize("case", VALUES)
def test_bad_values_file_is_one_line_with_its_place(project, case):
    text, message = VALUES[case]
    (project.directory / "actors" / "bad.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    done = project.run("--route", "upper", "--input", "1")
    first, second = done.stderr.splitlines()
    assert message in first
    assert second.startswith("    hint: ")
    assert done.returncode == 2


def test_import_error_shows_the_users_traceback_above(project):
    (project.directory / "broken.py").write_text("import handlers\nraise RuntimeError('no licence')\n", encoding="utf-8")
    project.actor("broken", "handler: broken.f\n")
    done = project.run("--route", "broken", "--input", "1")
    assert done.returncode == 2
    assert "RuntimeError: no licence" in done.stderr
    assert done.stderr.splitlines()[-2].startswith("[-] Actor broken: ")


def test_variable_of_the_cluster_is_asked_for_by_name(project):
    project.actor("secret", "handler: handlers.upper\nenv: {TOKEN: {valueFrom: {secretKeyRef: {name: keys, key: token}}}}\n")
    refused = project.run("--route", "secret", "--input", '{"text": "a"}')
    taken = project.run("--route", "secret", "--input", '{"text": "a"}', TOKEN="t")
    assert "variable TOKEN comes from secretKeyRef keys/token" in refused.stderr
    assert (refused.returncode, taken.returncode) == (2, 0)


def test_wrong_broker_password_exits_4(project):
    url = os.environ.get("ASYA_TEST_RABBITMQ_URL") or _no_broker()
    address = url.rpartition("@")[2]
    done = project.run(*RABBIT, "--broker-url", f"amqp://asya:wrong@{address}")
    assert done.returncode == 4
    assert "refused the user name or password" in done.stderr


def _no_broker() -> str:
    if os.environ.get("CI"):
        pytest.fail("ASYA_TEST_RABBITMQ_URL is not set")
    pytest.skip("ASYA_TEST_RABBITMQ_URL is not set")
