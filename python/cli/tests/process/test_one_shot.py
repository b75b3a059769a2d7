"""One envelope through real processes over the embedded transport."""

import json
import signal

import pytest


def error_lines(err: str) -> list[str]:
    lines = err.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("[-]"))
    return lines[first:]


def test_final_payload_is_all_of_stdout(project):
    done = project.run("--route", "upper", "--input", '{"text": "é"}')
    assert done.returncode == 0, done.stderr
    assert done.stdout == '{\n  "text": "é",\n  "upper": "É"\n}\n'


def test_input_comes_from_a_file_and_the_trace_lists_each_hop(project):
    (project.directory / "in.json").write_text('{"text": "a"}', encoding="utf-8")
    done = project.run("--route", "upper, upper", "--input", "@in.json", "--trace")
    assert done.returncode == 0, done.stderr
    table = done.stderr[done.stderr.index("HOP ") :].splitlines()
    assert [line.split()[1] for line in table[1:3]] == ["upper", "upper"]
    assert table[3].endswith("in 2 hops")


def test_fan_out_gives_an_array_in_the_handlers_order(project):
    done = project.run("--route", "many,nothing", "--input", "0")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_fan_out_of_fan_outs_gives_nested_arrays(project):
    done = project.run("--route", "many,many", "--input", "0")
    assert json.loads(done.stdout) == [[{"n": 0}, {"n": 1}, {"n": 2}]] * 3


def test_none_gives_the_payload_it_came_with(project):
    done = project.run("--route", "nothing,boom", "--input", '{"a": 1}')
    assert (done.returncode, json.loads(done.stdout)) == (0, {"a": 1})


def test_envelope_mode_reaches_actors_beside_the_route(project):
    project.actor("insert", "handler: handlers.insert\nhandlerMode: envelope\n")
    done = project.run("--route", "insert", "--input", '{"text": "x"}')
    assert json.loads(done.stdout) == {"text": "x", "upper": "X"}


def test_exception_shows_its_traceback_once_and_exits_1(project):
    done = project.run("--route", "boom,upper", "--input", "{}")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("Traceback (most recent call last)") == 1
    assert 'raise KeyError("text")' in done.stderr
    message, hint = error_lines(done.stderr)
    assert message.startswith("[-] KeyError in boom: 'text' (envelope ")
    assert hint.startswith("    hint: ")


def test_quiet_leaves_traceback_and_error_alone_on_stderr(project):
    done = project.run("--route", "boom", "--input", "{}", "--quiet")
    assert done.stderr.startswith("Traceback (most recent call last)")
    assert done.stderr.count("\n[-] ") == 1


def test_one_failed_sibling_fails_the_run(project):
    done = project.run("--route", "many,odd", "--input", "0")
    assert done.returncode == 1
    assert "(1 of 3 failed)" in done.stderr


def test_output_json_is_one_document_with_hops(project):
    done = project.run("--route", "upper", "--input", '{"text": "a"}', "--output", "json")
    document = json.loads(done.stdout)
    assert document["status"] == "succeeded"
    assert document["payload"] == {"text": "a", "upper": "A"}
    assert [hop["actor"] for hop in document["hops"]] == ["upper"]


def test_output_json_of_a_failure_holds_the_error(project):
    done = project.run("--route", "boom", "--input", "{}", "--output", "json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["status"], document["errors"][0]["type"]) == (1, "failed", "KeyError")


def test_variables_reach_init_from_values_and_env_option_only(project):
    project.actor("greets", "handler: handlers.Greets.process\n")
    plain = project.run("--route", "greets", "--input", "{}", GREETING="from the shell")
    given = project.run("--route", "greets", "--input", "{}", "--env", "GREETING", GREETING="from the shell")
    changed = project.run("--route", "greets", "--input", "{}", "--set", "greets.env.GREETING=hi")
    assert [json.loads(done.stdout)["greeting"] for done in (plain, given, changed)] == ["hello", "from the shell", "hi"]


def test_source_files_are_imported_before_the_project(project):
    project.actor("inline", "handler: inline.f\nsource:\n  files:\n    inline.py: |\n      def f(p):\n        return [p]\n")
    done = project.run("--route", "inline", "--input", "1")
    assert json.loads(done.stdout) == [1], done.stderr


def test_keep_leaves_results_in_the_state_folder(project):
    project.run("--route", "upper", "--input", '{"text": "a"}', "--keep")
    (kept,) = (project.directory / ".asya" / "run").glob("*/results/*.json")
    assert json.loads(kept.read_text(encoding="utf-8"))["payload"]["upper"] == "A"


def test_fresh_empties_the_state_folder(project):
    old = project.directory / ".asya" / "run" / "old" / "results"
    old.mkdir(parents=True)
    assert project.run("--route", "nothing", "--input", "1", "--fresh").returncode == 0
    assert not old.exists()


def test_nothing_is_left_without_keep(project):
    project.run("--route", "upper", "--input", '{"text": "a"}')
    assert not (project.directory / ".asya").exists()
    assert not list(project.directory.rglob("__pycache__"))


def test_timeout_exits_5(project):
    done = project.run("--route", "slow", "--input", '{"seconds": 30}', "--timeout", "2s", "--grace", "1s")
    assert done.returncode == 5
    assert "did not end within --timeout" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_lets_the_call_end_and_gives_its_code(running, number, code):
    run = running("--route", "slow", "--input", '{"seconds": 1}')
    run.until("call started")
    run.process.send_signal(number)
    returncode, out, err = run.finish()
    assert (returncode, out) == (code, "")
    assert "call ended" in err


def test_second_signal_kills(running):
    run = running("--route", "slow", "--input", '{"seconds": 60}', "--grace", "60s", "--verbose")
    run.until("call started")
    run.process.send_signal(signal.SIGINT)
    run.until("draining")
    run.process.send_signal(signal.SIGINT)
    assert run.finish()[0] == 130
