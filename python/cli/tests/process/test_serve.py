"""``--serve`` and ``--attach``: reload, drain, one at a time."""

import json
import signal

import pytest


@pytest.fixture
def served(project, running):
    (project.directory / "asya.yaml").write_text("run: {route: [upper]}\n", encoding="utf-8")
    for name in ("boom", "many", "odd", "nothing"):
        (project.directory / "actors" / f"{name}.yaml").unlink()
    run = running("--serve")
    run.until("Serving slow, upper")
    return run


def test_attached_run_prints_payload_hops_and_failure(project, served):
    done = project.run("--attach", "--input", '{"text": "a"}', "--trace")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"text": "a", "upper": "A"})
    assert "total " in done.stderr
    failed = project.run("--attach", "--input", "{}")
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-2].startswith("[-] KeyError in upper: 'text'")
    served.until("upper~ | delivery envelope_id=")


def test_changed_handler_is_used_by_the_next_call(project, served):
    file = project.directory / "handlers.py"
    file.write_text(file.read_text(encoding="utf-8").replace("upper()", "lower()"), encoding="utf-8")
    served.until("handlers.py changed: upper restarts after its call")
    served.until("[+] upper is ready")
    assert json.loads(project.run("--attach", "--input", '{"text": "A"}').stdout)["upper"] == "a"


def test_handler_that_does_not_load_waits_for_its_correction(project, served):
    file = project.directory / "handlers.py"
    good = file.read_text(encoding="utf-8")
    file.write_text(good + "\nraise RuntimeError('half written')\n", encoding="utf-8")
    served.until("upper waits for its file to change")
    file.write_text(good, encoding="utf-8")
    served.until("[+] upper is ready")
    assert project.run("--attach", "--input", '{"text": "a"}').returncode == 0


def test_changed_values_restart_their_pair_and_new_ones_start(project, served):
    project.actor("greets", "handler: handlers.Greets.process\n")
    served.until("[+] greets is ready")
    assert json.loads(project.run("--attach", "--route", "greets", "--input", "{}").stdout)["greeting"] == "hello"
    project.actor("greets", "handler: handlers.Greets.process\nenv: {GREETING: hi}\n")
    served.until("greets.yaml changed: greets restarts")
    served.until("[+] greets is ready")
    assert json.loads(project.run("--attach", "--route", "greets", "--input", "{}").stdout)["greeting"] == "hi"


def test_bad_values_file_changes_nothing(project, served):
    project.actor("greets", "handlr: x\n")
    served.until("unknown key handlr")
    (project.directory / "actors" / "greets.yaml").unlink()
    assert project.run("--attach", "--route", "upper", "--input", '{"text": "a"}').returncode == 0


def test_ctrl_c_finishes_the_call_and_exits_0(project, served, running):
    sender = running("--attach", "--route", "slow", "--input", '{"seconds": 1}')
    served.until("call started")
    served.process.send_signal(signal.SIGINT)
    code, out, err = served.finish()
    assert (code, out) == (0, "")
    assert "call ended" in err
    assert err.rstrip().endswith("[+] Stopped")
    assert sender.finish()[0] in (0, 3)


def test_second_serve_of_a_project_is_refused(project, served):
    done = project.run("--serve")
    assert done.returncode == 4
    assert "is served already by process" in done.stderr
