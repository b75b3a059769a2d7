"""Refused constructs with code and place, and the accepted neighbours. Numbers: situations of the language."""

# ruff: noqa: E501 (a case is a line)

import pytest
from oracle import agree, compiled, refused

from asya_flowc import CODES, Options, Source, compile_source, render

HEAD = "import json, time, math\nimport numpy\nfrom m import h, a, b, Model\nLIMIT = 3\n\n\ndef flow(p):\n"


def module(body: str) -> str:
    return HEAD + "".join(f"    {line}\n" for line in body.split("\n"))


REFUSED = [
    ("38", "p = h()\nreturn p", "E201"), ("38", "p = h(p, 1)\nreturn p", "E201"), ("38", "p = h(p, k=1)\nreturn p", "E201"),
    ("38", "p = h(*p)\nreturn p", "E201"), ("38", "p = h(**p)\nreturn p", "E201"),
    ("39", "p = h(q)\nreturn p", "E202"), ("39", 'p = h(p["x"])\nreturn p', "E202"), ("39", "p = h(dict(p))\nreturn p", "E202"),
    ("42", "x = h(p)\nreturn p", "E203"), ("42", "p, q = h(p)\nreturn p", "E203"), ("42", "p = q = h(p)\nreturn p", "E203"),
    ("42", "p: dict = h(p)\nreturn p", "E203"), ("42", "if (p := h(p)):\n    pass\nreturn p", "E203"), ("43", "h(p)\nreturn p", "E203"),
    ("43", "print(p)\nreturn p", "E305"), ("43", 'p["a"]\nreturn p', "E305"), ("43", 'p.get("x")\nreturn p', "E305"),
    ("43", "yield p\nreturn p", "E401"),
    ("44", 'p["x"] = h(p)\nreturn p', "E204"), ("44", 'p["x"] = unknown(p)\nreturn p', "E204"), ("44", 'p = h(p)["r"]\nreturn p', "E204"),
    ("44", "p = a(p) or p\nreturn p", "E204"), ("44", "if h(p):\n    pass\nreturn p", "E204"), ("44", "p = a(p) if p else b(p)\nreturn p", "E204"),
    ("44", 'p["x"] = [h(p), 1]\nreturn p', "E204"), ("47", "p = p(p)\nreturn p", "E205"), ("47", "p = p.m(p)\nreturn p", "E205"),
    ("47", "p = f()(p)\nreturn p", "E205"), ("47", "p = fs[0](p)\nreturn p", "E205"), ("47", "p = LIMIT(p)\nreturn p", "E205"),
    ("47", "p = sorted(p)\nreturn p", "E206"), ("47", "p = json.loads(p)\nreturn p", "E206"),
    ("50", "p = _(p)\nreturn p", "E502"), ("50", "p = mode(p)\nreturn p", "E502"), ("51", "p = prüfe(p)\nreturn p", "E106"),
    ("52", "with x:\n    p = h(p)\nreturn p", "E401"), ("52", "try:\n    p = h(p)\nexcept ValueError:\n    pass\nreturn p", "E410"),
    ("56", "m = Model(1)\np = m.run(p)\nreturn p", "E207"), ("56", "p = Model(p)\nreturn p", "E207"), ("56", "p = Model(1).run(p)\nreturn p", "E207"),
    ("57", "cfg = load()\nreturn p", "E208"), ("57", 'm = Model()\np["x"] = m.size\nreturn p', "E209"),
    ("58", "if p:\n    m = Model()\np = m.run(p)\nreturn p", "E209"), ("58", "p = m.run(p)\nm = Model()\nreturn p", "E209"),
    ("58", "m = Model()\nm = Model()\np = m.run(p)\nreturn p", "E209"), ("59", "h = Model()\np = h.run(p)\nreturn p", "E209"),
    ("62", "p += 1\nreturn p", "E301"), ("65", 'q["x"] = 1\nreturn p', "E301"), ("65", "p.attr = 1\nreturn p", "E301"),
    ("65", 'globals()["x"] = 1\nreturn p', "E301"), ("67", 'p["x"] = helper(p["y"])\nreturn p', "E303"),
    ("67", 'p["x"] = numpy.sum(p["y"])\nreturn p', "E303"), ("67", 'p["x"] = open("f")\nreturn p', "E303"), ("67", 'p["x"] = nowhere\nreturn p', "E303"),
    ("69", 'n = p["x"]\np = h(p)\np["y"] = n\nreturn p', "E302"), ("69", 'n = 1\nif p:\n    p["y"] = n\nreturn p', "E302"),
    ("69", "n += 1\nreturn p", "E302"), ("69", 'n = 1\nwhile p["x"] < n:\n    p = h(p)\nreturn p', "E302"),
    ("70", 'if (n := p["x"]) > 1:\n    p["y"] = n\nreturn p', "E302"), ("71", 'p["self"] = p\nreturn p', "E308"), ("71", 'p["self"] = [p]\nreturn p', "E308"),
    ("36", "p = h(p)\nreturn other", "E306"), ("36", "p = h(p)\nreturn None", "E306"), ("36", "p = h(p)\nreturn", "E306"),
    ("41", "p = 5\nreturn p", "E304"), ("41", "p = q\nreturn p", "E304"), ("41", "p = [1]\nreturn p", "E304"), ("41", 'p = p if p["x"] else {}\nreturn p', "E304"),
    ("73", "break\nreturn p", "E402"), ("73", "continue\nreturn p", "E402"), ("73", "async for x in p:\n    pass\nreturn p", "E412"),
    ("74", "assert p\nreturn p", "E401"), ("74", "match p:\n    case _:\n        pass\nreturn p", "E401"), ("74", "import os\nreturn p", "E401"),
    ("74", "global x\nreturn p", "E401"), ("74", "nonlocal x\nreturn p", "E401"), ("74", "def f(): pass\nreturn p", "E401"),
    ("74", "class C: pass\nreturn p", "E401"), ("74", "del x\nreturn p", "E401"), ("74", "f = lambda: 1\nreturn p", "E401"),
    ("74", "try:\n    pass\nexcept* ValueError:\n    pass\nreturn p", "E401"), ("74", "raise ValueError\nreturn p", "E410"),
    ("74", "async with x:\n    pass\nreturn p", "E412"), ("74", "p = await h(p)\nreturn p", "E412"),
    ("74", 'p["r"] = [a(p["x"]), b(p["y"])]\nreturn p', "E411"), ("74", 'p["r"] = [a(x) for x in p["xs"]]\nreturn p', "E411"),
    ("75", 'for x in p["xs"]:\n    x = 1\nreturn p', "E307"), ("75", 'for x in p["xs"]:\n    p = h(p)\np["y"] = x\nreturn p', "E307"),
    ("75", 'for x in p["xs"]:\n    for x in p["ys"]:\n        p = h(p)\nreturn p', "E307"), ("75", 'for p["x"] in p["xs"]:\n    p = h(p)\nreturn p', "E301"),
    ("75", 'while p["x"]:\n    p["y"] = 1\nreturn p', "E403"), ("75", "while True:\n    p = h(p)\nreturn p", "E403"),
    ("75", 'while p["x"] < 3:\n    pass\nreturn p', "E403"),
]  # fmt: skip


@pytest.mark.parametrize(("situation", "body", "code"), REFUSED, ids=[f"{one[0]}-{one[1][:30]!r}" for one in REFUSED])
def test_construct_is_refused_with_its_code(situation: str, body: str, code: str) -> None:
    text = module(body)
    found = refused(text)
    errors = [one for one in found if one.code[0] == "E"]
    assert code in {one.code for one in errors}, [(one.code, one.message) for one in errors]
    for one in errors:
        printed = render(one, Source.of(text, "flow.py"))
        assert f"flow.py:{one.span.line}:{one.span.column}: FLOW{one.code[1:]} " in printed
        assert "^" in printed


@pytest.mark.parametrize(("situation", "body", "code"), REFUSED, ids=[f"{one[0]}-{one[1][:30]!r}" for one in REFUSED])
def test_one_mistake_gives_one_error(situation: str, body: str, code: str) -> None:
    errors = [one.code for one in refused(module(body)) if one.code[0] == "E"]
    assert len(errors) == 1, errors


ACCEPTED = [
    ("1", "return p"), ("2", '"""Doc."""\npass\n...\nreturn p'), ("4", 'p["a"] = 1\np["b"] = 2\nreturn p'),
    ("5", 'p["a"] = 1\np = h(p)\np["a"] += 1\np = a(p)\np["b"] = p["a"]\nreturn p'),
    ("6", 'p["a"] = 1\nif p["a"] == 1:\n    p = h(p)\nreturn p'), ("14", "if p:\n    pass\nelse:\n    pass\np = h(p)\nreturn p"),
    ("18", 'if p["n"]:\n    p = h(p)\nreturn p'), ("23", 'if p["missing"]:\n    p = h(p)\nreturn p'),
    ("26", 'if any((lambda v: v > 1)(p) for p in p["xs"]):\n    p = h(p)\nreturn p'),
    ("27", 'p["s"] = f"{p[\'n\']:>4}\\n" + "\\\\" + str(b"x") + str(10**30) + str(sorted({1, 2}))\nreturn p'),
    ("28", "if True:\n    p = h(p)\nif 0:\n    p = a(p)\nreturn p"), ("34", 'if p["n"]:\n    p = h(p)\n    return p\np = a(p)\nreturn p'),
    ("36", "return h(p)"), ("36", "return {**p, 'r': 1}"), ("40", "p = a(b(p))\nreturn p"),
    ("41", 'p = dict(p, z=1)\np = dict(p)\np = {**p, "y": 1}\np = p | {"x": 2}\np = p.copy()\np = p\nreturn p'),
    ("45", "p = h(p)\nif p['n']:\n    p = h(p)\np = h(p)\nreturn p"),
    ("47", "p = end_report(p)\np = start_job(p)\np = router_x(p)\np = resolve(p)\np = envelope(p)\np = os(p)\nreturn p"),
    ("50", "p = match(p)\np = case(p)\np = type(p) if False else {}\nreturn p" if False else "p = match(p)\np = case(p)\nreturn p"),
    ("58", "if p['n']:\n    m = Model()\n    p = m.run(p)\nreturn p"), ("61", 'p["a"] = {}\np["a"][p["s"]] = [1, 2, 3]\np["a"][p["s"]][-1] = 4\np["a"][p["s"]][0:1] = []\nreturn p'),
    ("62", 'p["n"] += 1\np["n"] -= 2\np["n"] *= 3\np["n"] //= 2\np["n"] **= 2\np["n"] |= 1\np["n"] &= 7\np["n"] ^= 1\np["n"] <<= 1\np["n"] >>= 1\np["n"] %= 5\np["n"] /= 2\np |= {"k": 1}\nreturn p'),
    ("63", 'p.update(a=1)\np["xs"].append(1)\np.pop("a")\np.setdefault("l", [])\ndel p["xs"]\nreturn p'),
    ("64", 'p["a"] = p["b"] = 0\np["c"], p["d"] = 1, 2\np["e"]: int = 3\nreturn p'),
    ("66", 'p["a"] = []\np["b"] = [1, 2]\np["c"] = [p.get("q")]\np["d"] = [x for x in p["xs"]]\nreturn p'),
    ("67", 'p["a"] = len(p["xs"]) + LIMIT + math.floor(1.5)\nreturn p'), ("69", 'n = p["n"]\nm, k = n, 2\nn += m\nif n > k:\n    p = h(p)\nreturn p'),
    ("70", 'if (n := p["n"]) > 1 and n < 9:\n    p = h(p)\nreturn p'), ("71", 'p["snap"] = dict(p)\nreturn p'),
    ("72", 'p["route"] = p["payload"] = p["_next"] = [r for r in p["xs"] if [c for c in "ab"]]\nreturn p'),
    ("72", 'r = 1\nc = 2\nenvelope = 3\n_next = 4\n_state = 5\nresolve = 6\np["x"] = r + c + envelope + _next + _state + resolve\np = h(p)\nreturn p'),
    ("75", 'p["i"] = 0\nwhile p["i"] < 3:\n    p["i"] += 1\n    p = h(p)\n    if p["i"] == 2:\n        p["two"] = 1\nelse:\n    p["e"] = 1\nreturn p'),
    ("75", 'for x in p["xs"]:\n    if x == 1:\n        continue\n    if x == 3:\n        break\n    p["item"] = x\n    p = h(p)\nelse:\n    p["e"] = 1\np = a(p)\nreturn p'),
    ("75", 'for k, v in list(p["d"].items()):\n    for x in range(v):\n        p["kv"] = [k, v, x]\n        p = h(p)\n    p = a(p)\nreturn p'),
    ("75", 'for x in p["xs"]:\n    while p["n"] < 5:\n        p["n"] += 1\n        if x == 2:\n            return p\n    p["n"] = 0\nfor x in []:\n    p = h(p)\nreturn p'),
    ("75", "while p['n'] < 1000:\n    p['n'] += 1\nreturn p"), ("75", "for x in p['xs']:\n    pass\nfor x in p['xs']:\n    break\nreturn p"),
    ("75", "for x in [(1, (2, 3))]:\n    p['x'] = 1\nreturn p" if False else "for x in [{'tuple': 1}, {'value': 2}, (1, 2), 3]:\n    p['x'] = x[0] if isinstance(x, tuple) else x\n    p = h(p)\nreturn p"),
    ("101", 'p["a"] = 1; p = h(p); p["b"] = 2\nreturn p'),
]  # fmt: skip
PAYLOADS = [
    {"n": 0, "xs": [], "d": {}, "s": "k"},
    {"n": 3, "xs": [1, 2, 3, 4], "d": {"a": 2, "b": 1}, "s": "z"},
    {"n": 1, "xs": [2], "d": {"q": 0}, "s": ""},
]


@pytest.mark.parametrize(("situation", "body"), ACCEPTED, ids=[f"{one[0]}-{one[1][:30]!r}" for one in ACCEPTED])
def test_accepted_form_runs_as_plain_python(situation: str, body: str) -> None:
    agree(module(body), *PAYLOADS)
    agree(module(body), *PAYLOADS, options=Options(end_router="skip"))


WARNED = [
    ("2", "p = h(p)", "W312"), ("32", "if p:\n    return p\nelse:\n    return p\np = h(p)", "W420"), ("37", "return p\np = h(p)", "W420"),
    ("45", "p = h(p)\np = h(p)\nreturn p", "W504"), ("44", "p = nowhere(p)\nreturn p", "W508"), ("67", 'p["t"] = time.time()\nreturn p', "W310"),
    ("67", 'p["t"] = hash(p["x"])\nreturn p', "W310"), ("68", 'p["b"] = p["a"]\np["b"]["c"] = 1\nreturn p', "W311"),
    ("1", 'p["x"] = 1\nreturn p', "W110"), ("90", 'p["x"] = p[*p["k"]]\np = h(p)\nreturn p', "W603"),
]  # fmt: skip


@pytest.mark.parametrize(("situation", "body", "code"), WARNED, ids=[f"{one[0]}-{one[2]}" for one in WARNED])
def test_doubtful_form_is_warned_of(situation: str, body: str, code: str) -> None:
    assert code in {one.code for one in compiled(module(body)).warnings}


def test_plain_copy_of_a_key_is_not_warned_of() -> None:
    assert "W311" not in {one.code for one in compiled(module('p["b"] = p["a"]\np = h(p)\nreturn p')).warnings}


FILES = [
    ("80", "", "E101"), ("80", "# only a comment\n", "E101"), ("80", "def f(p:\n", "E002"), ("80", "print 'x'\n", "E002"), ("80", "def f(p):\n    return p\0\n", "E001"),
    ("79", "def f():\n    pass\n", "E101"), ("79", "def f(a, b):\n    pass\n", "E101"), ("79", "def f(*p):\n    pass\n", "E101"),
    ("79", "def f(*, p):\n    pass\n", "E101"), ("79", "def f(p={}):\n    pass\n", "E101"), ("79", "class C:\n    def f(p):\n        pass\n", "E101"),
    ("79", "if True:\n    def f(p):\n        return p\n", "E101"), ("79", "async def f(p):\n    p = h(p)\n    return p\n", "E412"),
    ("78", "def f(p):\n    p = h(p)\n    return p\ndef g(p):\n    p = h(p)\n    return p\n", "E103"),
    ("49", "def f(p):\n    p = f(p)\n    return p\n", "E104"), ("49", "def f(p):\n    p = g(p)\n    return p\ndef g(p):\n    p = f(p)\n    return p\n", "E104"),
    ("81", "@cached\ndef f(p):\n    p = h(p)\n    return p\n", "E105"), ("51", "def fluß(p):\n    p = h(p)\n    return p\n", "E106"),
    ("60", "class C:\n    def __init__(self, a): pass\n    def run(self, p): return p\ndef f(p):\n    c = C()\n    p = c.run(p)\n    return p\n", "E210"),
    ("48", "def f(p):\n    p = A_b(p)\n    p = a_B(p)\n    return p\n", "E501"), ("48", "def f(p):\n    p = start_f(p)\n    return p\n", "E501"),
    ("80", "x = " + "(" * 300 + ")" * 300 + "\n", "E003"), ("80", "def f(p):\n    p['x'] = " + "+".join(["1"] * 3000) + "\n    return p\n", "E003"),
    ("50", "def f(p):\n    p = class(p)\n    return p\n", "E002"), ("80", "def f(p):\n    nonsense = 1\n    return p\n\ndef g(a, a): pass\n", "E002"),
]  # fmt: skip


@pytest.mark.parametrize(("situation", "text", "code"), FILES, ids=[f"{one[0]}-{one[2]}-{one[1][:25]!r}" for one in FILES])
def test_file_is_refused_with_its_code(situation: str, text: str, code: str) -> None:
    assert code in [one.code for one in refused(text)]


def test_several_errors_are_reported_in_order_of_position() -> None:
    found = refused(module('p = h(p["a"])\nx = h(p)\nq["z"] = 1\nassert p\nreturn 3'))
    assert [one.code for one in found if one.code[0] == "E"] == ["E202", "E203", "E301", "E401", "E306"]


def test_diagnostic_prints_excerpt_caret_reason_and_replacement() -> None:
    text = 'def f(p):\n    p = clean(p["text"])\n    return p\n'
    found = [one for one in refused(text) if one.code == "E202"]
    assert render(found[0], Source.of(text, "flow.py")) == (
        "[-] flow.py:2:15: FLOW202 the argument of handler 'clean' is not the payload\n"
        '  2 |     p = clean(p["text"])\n'
        "    |               ^^^^^^^^^\n"
        "  why:   an actor receives the whole payload, never a part of it\n"
        '  write: p = clean(p)   and read p["text"] in the handler'
    )


def test_every_code_is_shown_by_a_case() -> None:
    shown = {one[2] for one in (*REFUSED, *WARNED, *FILES)}
    elsewhere = {"E102", "E413", "E505", "E507", "E601", "E602", "E604", "E901", "W111", "W506"}  # shown by their own tests, or defects
    assert set(CODES) - shown - elsewhere == set()


def test_options_of_the_run_are_refused_with_their_code() -> None:
    text = module("p = h(p)\nreturn p")
    assert [one.code for one in refused(text, Options(flow="nowhere"))] == ["E102"]
    assert [one.code for one in refused(text, Options(subflows={"x": "inline"}))] == ["E413"]
    assert [one.code for one in refused(text, Options(actors={"other": "m.g"}))] == ["E507"]
    bare = "def f(p):\n    p = h(p)\n    return p\n"
    assert "E602" in [one.code for one in refused(bare, Options(stubs=True))]
    many = "def f(p):\n" + "".join(f"    p = h{index}(p)\n" for index in range(460)) + "    return p\n"
    assert "E604" in [one.code for one in refused(many)]
    large = module(f'p["x"] = "{"x" * 1_000_000}"\np = h(p)\nreturn p')
    assert "E601" in [one.code for one in refused(large)]


def test_long_flow_name_is_shortened_with_a_warning() -> None:
    done = compile_source(f"def {'f' * 200}(p):\n    p = h(p)\n    return p\n", "flow.py")
    assert not isinstance(done, list)
    assert "W506" in {one.code for one in done.warnings}
    assert all(len(one.actor) <= 53 for one in done.routers)


def test_called_flow_is_a_handler_with_a_warning() -> None:
    done = compiled("def main(p):\n    p = part(p)\n    return p\ndef part(p):\n    p = h(p)\n    return p\n")
    assert done.flow == "main"
    assert "W111" in {one.code for one in done.warnings}
