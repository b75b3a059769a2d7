"""The numbered situations of the flow language with what is decided for each. `test_situations_are_shown.py` wants a test for every number.

No outcome given: the flow compiles and does in the mesh what it does as plain Python. A test bears the numbers in its name
(``test_20_…``, ``test_53_54_…``), or a row of `constructs.py` begins with one.
"""

from typing import Final

__all__ = ["LATER", "SITUATIONS"]

SITUATIONS: Final[dict[int, str]] = {
    # A. Basics
    1: "only `return p`: start inserts the end router alone; with end router skipped nothing",
    2: "only `pass`, only a docstring, no return: as 1, W312",
    3: "1, 20, 2,000 handlers: one start router, linear work",
    4: "only mutations (1, 3, 500): one seq router, named by the first line",
    5: "mutation, handler, mutation, handler, mutation: in order",
    6: "mutations before `if`: in its router, once, before the test",
    7: "comments, imports above: line numbers follow the source; the quick start's flows get the printed ones",
    8: "docstring, comments, type comments, blank lines change nothing but numbers",
    9: "line ends, tabs, byte order mark, coding cookie, no last newline",
    10: "parameter `payload` with tests and mutations",
    11: "other parameter names, also those of the generated bodies",
    12: "compiled twice, in two folders: the same bytes",
    # B. Conditions
    13: "two handlers, then a common one: joined once on both sides",
    14: "no else; both arms pass: the test still runs",
    15: "five elif, no else: a router a test, lazily; beyond the compiler's depth E003",
    16: "three levels, a handler after each: all 8 paths",
    17: "three ifs in a row: three routers",
    18: "if first, last, alone",
    19: "mutation after the join: once, after both",
    20: "mutation in one arm only",
    21: "arm with mutation, handler, mutation, if, mutation",
    22: "the test reads a key set just above by mutation or handler",
    23: "KeyError in a test leaves the router, the route as it was",
    24: "falsy values, not, and/or, in, is None",
    25: "chained comparison, conditional expression, chained get",
    26: "comprehension, generator, lambda in the test",
    27: "f-strings, backslashes, bytes, big integers, sets printed again",
    28: "`if True`, `if 0` are not folded",
    # C. Returns
    29: "return in the true arm: the rest is skipped only there",
    30: "return in the false arm; amid an elif chain",
    31: "return in a nested arm: the other side reaches the outer join",
    32: "both arms return, code behind: W420",
    33: "mutation, return in an arm: applied, then only the end router",
    34: "handler, return in an arm: handler, then only the end router",
    35: "early return with a tail: the tail runs",
    36: "`return h(p)`, `return {…}` are fine; another, None, bare: E306",
    37: "code after a return: W420",
    # D. Actor calls
    38: "all forms of E201",
    39: "all forms of E202",
    40: "`p = a(b(p))`: b first",
    41: "dict(…), {**p}, p | {…}, p.copy(): replacement, never an actor; others E304",
    42: "all forms of E203",
    43: "bare `h(p)` E203; print, bare await E305; yield E401",
    44: "actor call inside an expression: E204",
    45: "one handler in sequence, in both arms, after the join: W504, separate nodes, no E505",
    46: "dotted, import as, from import as: one path",
    47: "handlers named like generated things; E205, E206, E501 where they clash",
    48: "any flow name; 200 characters W506; A_b and a_B E501",
    49: "a flow that calls itself: E104",
    50: "handlers match, case; `_` E502; a keyword E002",
    51: "non-ASCII flow, handler, class E106; keys, strings, comments are UTF-8 in every locale",
    52: "call in with E401; in lambda, conditional E204; in try, for: levels 3, 2",
    # E. Classes
    53: "class of the file: stem.Class.method",
    54: "imported, alias, module attribute: the defining module's path",
    55: "the same method name: two handlers; two instances: one handler, W504",
    56: "constructor arguments: E207",
    57: "`cfg = load()` E208; instance in an expression E209",
    58: "instance bound in an arm and used after, used before, bound twice E209; used only in its arm: fine",
    59: "instance shadows parameter or import E209; `p.m(p)` E205",
    60: "__init__ without default in the file: E210",
    # F. Mutations
    61: "nested and dynamic keys, slices, negative index",
    62: "all op= on nested targets, `p |= {…}`; `p += 1` E301; `x += 1` a local",
    63: "del, update, append, pop, setdefault",
    64: "`p[…] = p[…] = 0`, tuples of payload targets, annotated",
    65: "`q[…]`, `p.attr`, `globals()[…]`: E301",
    66: "lists without actor calls: plain mutation",
    67: "builtin, constant, library function carried; time.time W310; helper, third party E303",
    68: "two keys of one container, one changed in place: W311",
    69: "local: fine in one router, else E302",
    70: "walrus read in its own test; later E302",
    71: "`dict(p)` stored is fine; p stored in itself E308",
    72: "keys and comprehension variables named like generated ones: no capture",
    # G. Other statements
    73: "stray break E402; async for E412; for, while: level 2",
    74: "each statement of E401, E410, E411, E412 at its own line",
    75: "level 2: loops in every position",
    76: "several errors: one run, sorted, exit 1, nothing written",
    # H. Finding the flow
    77: "handlers above or below with the same signature: their caller is the flow",
    78: "two flows E103; with --flow: fine",
    79: "no or other annotation, `p, /` fine; every other signature or place E101 with the reason; async def E412",
    80: "empty, comments E101; syntax, old print E002; null byte, encoding E001; depth E003; never a traceback",
    81: "decorator: E105",
    # I. resolve()
    82: "short, Class.method, full; a.b never matches xa.b",
    83: "two of one short name: lengthened; by hand both are listed",
    84: "exact value beats suffix, suffix beats the variable's name",
    85: "one handler under two variables: the error names both actors",
    86: "ASYA_HANDLER, _MODE, empty, lower case are skipped; blanks trimmed",
    87: "long, digits, double underscore: variable and actor round trip",
    88: "mapping missing in an arm not taken: --check names it",
    89: "import without variables",
    90: "standard library, 3.9; newer syntax W603",
    # J. Envelope
    91: "id, parent_id, headers, deadline, unknown keys untouched",
    92: "start amid a route, twice, inside itself",
    93: "bad current, empty actors: ValueError; payload no dict: passes start, Python's own error where it is read",
    94: "a router twice on copies: equal",
    95: "the end router is passed on every way out; skipped: in no route",
    # K. Command and files
    96: "output missing, nested, empty, full, --overwrite, a file, not writable",
    97: "foreign files stay; a failed compilation changes nothing",
    98: "no Graphviz: a warning, exit 0; width 0, negative exit 2; 1, huge fine",
    99: "labels with quotes, markup, backslash, newline, non-ASCII pass dot; a.b and a_b stay two",
    100: "blanks, unicode, symlink in paths; a folder E001; `-` is standard input, stem flow",
    101: "mutation, handler, mutation on one line: seq and seq_2, no self-insertion",
    102: "the output compiles, has no undefined name, is stable under import again",
    # L. Further
    103: "folded equals per-actor on every case, with fewer hops",
    104: "redelivery, replay from any hop, the same flow started inside itself: the state is right",
    105: "level 3",
}

LATER: Final = frozenset((105,))
"""Situations of a level that is not built: their forms get E410–E413, which 74 shows."""
