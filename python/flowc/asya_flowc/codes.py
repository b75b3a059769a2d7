"""The codes of diagnostics: one table of data. The reference page is made from it, and a test wants each code shown by a case.

`E…` refuses the flow, `W…` does not. Knows nothing of the phases that use it.
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["CODES", "Rule"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a code stands for: `title` for the reference, `why` and `write` as printed unless a finding says more exactly."""

    title: str
    why: str
    write: str


_LEVEL_3: Final = "this form is not part of the language yet"
_ENVELOPE: Final = "a handler in envelope mode, which may edit the route itself"

CODES: Final[dict[str, Rule]] = {
    # The file
    "E001": Rule("unreadable file, wrong encoding or null byte", "a flow is a text file of Python", "save the file as UTF-8"),
    "E002": Rule("Python syntax error", "the file does not parse as Python", ""),
    "E003": Rule("nested too deeply", "the compiler follows nesting to a limit", "split the expression or the flow into handlers"),
    # Which function is the flow
    "E101": Rule(
        "no flow in the file",
        "a flow is a function at the top level of the file with exactly one parameter that has no default",
        "def my_flow(p: dict) -> dict: …",
    ),
    "E102": Rule("the function named with --flow cannot be the flow", "", "--flow with the name of a top-level function of one parameter"),
    "E103": Rule("several candidates for the flow", "each of them calls handlers and none calls another", "--flow NAME"),
    "E104": Rule(
        "functions call each other in a circle, or the flow calls itself",
        "a flow must have one place where it begins, and a call to itself would never end",
        "while, or a handler",
    ),
    "E105": Rule("decorated flow", "routers cannot carry what a decorator does", "the function without its decorator"),
    "E106": Rule(
        "name outside ASCII", "the names of flows, handlers and classes become names of actors", "a name of ASCII letters, digits and _"
    ),
    "W110": Rule("the flow calls no handler", "only routers are made; no work is done by an actor", "p = handler(p)"),
    "W111": Rule(
        "a called function looks like a flow itself",
        "it is called as one handler: its own steps stay inside that actor",
        "its steps in this flow, if each shall be an actor",
    ),
    # Actor calls
    "E201": Rule(
        "an actor takes exactly one argument",
        "an actor receives the payload and nothing else",
        "p = h(p)   with the argument put into the payload before",
    ),
    "E202": Rule(
        "the argument of a handler is not the payload",
        "an actor receives the whole payload, never a part of it",
        "p = h(p)   and read the part in the handler",
    ),
    "E203": Rule("the result of an actor call is not bound to the payload alone", "what an actor returns is the next payload", "p = h(p)"),
    "E204": Rule(
        "actor call inside an expression",
        "the call happens in another process; its result arrives as the payload of the next router",
        "p = h(p)   as a statement of its own before",
    ),
    "E205": Rule(
        "the callee is no handler by name", "routers name handlers by their dotted path", "p = h(p)   with h a function or Class().method"
    ),
    "E206": Rule(
        "builtin or library function called as an actor",
        "actors run your handlers; this function is none",
        'a mutation: p["key"] = f(p["other"])',
    ),
    "E207": Rule(
        "constructor arguments",
        "the class is built in its actor, from defaults and environment variables",
        "Cls()   with defaults in __init__",
    ),
    "E208": Rule("instance of something that is no class", "only an instance of a class can be called in an actor", "obj = Cls()"),
    "E209": Rule(
        "an instance is used where it is not certain",
        "an instance stands for an actor and is no value",
        "one binding obj = Cls() before every use",
    ),
    "E210": Rule(
        "__init__ parameter without a default",
        "the class is built in its actor, without arguments",
        "a default for each parameter of __init__",
    ),
    # Payload and names
    "E301": Rule("target outside of the payload", "only the payload travels to the next actor", 'p["key"] = …'),
    "E302": Rule(
        "a local is read in another router",
        "only the payload travels; a local lives in the router that binds it",
        'p["key"] = …, or the expression again',
    ),
    "E303": Rule(
        "a name that routers do not have",
        "routers run with the standard library, constants of this file and nothing else",
        "a handler or a constant",
    ),
    "E304": Rule(
        "the payload is replaced by something that is not surely a dict",
        "the payload stays a dict from actor to actor",
        "p = {…}, or an if",
    ),
    "E305": Rule("statement without effect on the payload", "its result would be lost", "an assignment to a key of the payload"),
    "E306": Rule("return of something else than the payload", "None means stop for a handler, so the intent is unclear", "return p"),
    "E307": Rule(
        "loop variable used beyond its loop",
        "a loop variable comes from the loop's own state and ends with it",
        'p["item"] = x in the body',
    ),
    "E308": Rule("the payload stored in itself", "JSON cannot hold itself", "dict(p)"),
    # Statements
    "E401": Rule("statement that a flow cannot hold", "a router decides and mutates; work is done by handlers", "it in a handler"),
    "E402": Rule("break or continue outside of a loop", "there is no loop here to leave or to go on with", ""),
    "E403": Rule("the loop cannot end", "nothing in it changes what its test reads", "a change of a key that the test reads, or break"),
    "E410": Rule("exceptions", _LEVEL_3, _ENVELOPE),
    "E411": Rule("fan-out", _LEVEL_3, _ENVELOPE + ", or one that returns a list"),
    "E412": Rule("async and await", _LEVEL_3, "def and p = h(p); the mesh is asynchronous anyway"),
    "E413": Rule("sub-flow", _LEVEL_3, "the steps in this flow, or one handler"),
    # Names in the mesh
    "E501": Rule(
        "two things with one name",
        "each actor has one queue by its name, and each router one function",
        "another name for one of them, or --actors",
    ),
    "E502": Rule(
        "no legal actor name",
        "an actor's name has a-z, 0-9 and inner dashes, begins with a letter and has at most 53 characters, and ASYA_HANDLER_MODE is taken",
        "another name, or --actors",
    ),
    "E505": Rule("routers form a circle without a loop", "the envelope would never end", ""),
    "E507": Rule(
        "no actor runs this handler",
        "with --actors each handler needs a values file",
        "a values file whose handler: is this path, or whose name is this handler's actor",
    ),
    "E601": Rule(
        "routers.py is too large for values", "what source.files holds goes into one ConfigMap, 900 KiB at most", "--image REPO:TAG"
    ),
    "E602": Rule(
        "stub for a handler whose path is unknown", "a stub needs the handler's module", "an import of the handler in the flow's file"
    ),
    "E604": Rule("too many names to map", "each is an environment variable of every router, 450 at most", "two flows"),
    "E901": Rule("the compiler's own output failed its check", "this is a defect of the compiler", "a report with this file"),
    # Warnings
    "W310": Rule(
        "the value differs from one evaluation to the next",
        "a redelivered envelope may be decided otherwise",
        "the value computed once in a handler",
    ),
    "W311": Rule(
        "container shared by two names, then changed in place", "sharing ends at the next router", "a copy, or the change of both"
    ),
    "W312": Rule("the flow ends without return", "plain Python gives None here; the compiled flow returns the payload", "return p"),
    "W420": Rule("unreachable code", "it is neither routed nor emitted", ""),
    "W504": Rule("handler used several times", "right by position; it is drawn once for each use", ""),
    "W506": Rule("actor name shortened", "an actor's name has at most 53 characters", "a shorter name"),
    "W508": Rule(
        "handler known by its bare name only",
        "it is neither imported nor defined in this file, so its module is unknown",
        "from MODULE import NAME",
    ),
    "W603": Rule("needs a newer Python than 3.9", "routers run where Python 3.9 or later is", "the expression without the newer syntax"),
}
