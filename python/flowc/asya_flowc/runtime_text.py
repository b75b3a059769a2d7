"""The part of `routers.py` that is the same for every flow, as text, and its lookup run by the compiler itself.

The compiler resolves names with the very code that it emits, so the two cannot differ. Only the standard library, Python 3.9.
"""

from collections.abc import Callable
from typing import Any, Final

__all__ = ["CHECK", "FOLDED", "IMPORTS", "RESOLVE", "ROUTE", "STATE", "find_actors", "mappings_of"]

IMPORTS: Final = """\
import os as _asya_os
import sys as _asya_sys
"""

RESOLVE: Final = '''\
def _asya_mappings(environ):
    """(actor, handler path) of every variable ASYA_HANDLER_<ACTOR>, sorted."""
    found = []
    for variable in environ:
        rest = variable[13:]
        value = environ[variable].strip()
        if not variable.startswith('ASYA_HANDLER_') or rest in ('', 'MODE') or not value:
            continue
        if rest.strip('ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_'):
            continue
        found.append((rest.lower().replace('_', '-'), value))
    return sorted(found)


def _asya_find(name, mappings):
    """The (actor, path) that `name` means: equal path, else path ending in it by whole components, else the variable called after it."""
    found = [pair for pair in mappings if pair[1] == name]
    if not found:
        end = '.' + name
        found = [pair for pair in mappings if pair[1].endswith(end)]
    if not found and '.' not in name:
        actor = name.lower().replace('_', '-').strip('-')
        found = [pair for pair in mappings if pair[0] == actor]
    return found


def _asya_variable(name):
    """The variable that would map `name` to an actor called after it."""
    return 'ASYA_HANDLER_' + name.rpartition('.')[2].upper().strip('_')


def resolve(name):
    """The actor that runs the handler or router `name`, by the variables ASYA_HANDLER_<ACTOR>."""
    folded = _asya_os.environ.get('ASYA_FLOW_ACTOR', '')
    if folded and name in _ASYA_STEPS:
        return folded + ':' + _ASYA_STEPS[name]
    mappings = _asya_mappings(_asya_os.environ)
    found = _asya_find(name, mappings)
    if len(found) == 1:
        return found[0][0]
    if found:
        several = ', '.join(actor + ' (' + path + ')' for actor, path in found)
        raise ValueError('Handler ' + repr(name) + ' is ambiguous: ' + several + '; lengthen the name by its class or module')
    known = ', '.join(path for actor, path in mappings) or 'none'
    raise ValueError('No actor runs ' + repr(name) + '; set ' + _asya_variable(name) + ' to its full path; known handlers: ' + known)
'''

ROUTE: Final = '''\
def _asya_position(route):
    """The index of the actor that handles the envelope. Raises ValueError for a route that has none."""
    actors = route.get('actors') if isinstance(route, dict) else None
    current = route.get('current') if isinstance(route, dict) else None
    if not isinstance(actors, list) or not actors:
        raise ValueError('The route has no actors; expected a list with this router in it')
    if type(current) is not int or not 0 <= current < len(actors):
        raise ValueError('The route points at ' + repr(current) + '; expected 0 to ' + str(len(actors) - 1))
    return current
'''

STATE: Final = '''\
def _asya_begin(envelope, flow):
    """The frames of header asya-flow with a new one for this flow on top."""
    return list((envelope.get('headers') or {}).get('asya-flow') or []) + [{'flow': flow, 'state': {}}]


def _asya_frames(envelope, flow):
    """The frames up to the topmost of this flow, its state copied; those above are left behind."""
    frames = (envelope.get('headers') or {}).get('asya-flow') or []
    for index in range(len(frames) - 1, -1, -1):
        if frames[index]['flow'] == flow:
            return frames[:index] + [{'flow': flow, 'state': dict(frames[index]['state'])}]
    raise ValueError('Header asya-flow has no state of flow ' + repr(flow) + '; did a handler remove it?')


def _asya_store(envelope, frames):
    """Write the frames back; the header goes with the last of them."""
    headers = dict(envelope.get('headers') or {})
    headers.pop('asya-flow', None)
    if frames:
        headers['asya-flow'] = frames
    envelope['headers'] = headers


def _asya_turn(state, loop, line, bound):
    """Count a turn of a while loop. Raises RuntimeError beyond its bound."""
    turns = state.get(loop, 0) + 1
    if turns > bound:
        raise RuntimeError('The loop at line ' + str(line) + ' passed its bound of ' + str(bound) + ' turns')
    state[loop] = turns


def _asya_snapshot(iterable, line):
    """What a for loop will go through, as JSON: a range by its bounds, else the items."""
    if type(iterable) is range:
        return {'start': iterable.start, 'stop': iterable.stop, 'step': iterable.step}
    items = list(iterable)
    if len(items) > 10000:
        raise ValueError('The loop at line ' + str(line) + ' has ' + str(len(items)) + ' items; at most 10000 fit into an envelope')
    rest = []
    for item in items:
        parts = list(item) if type(item) is tuple else [item]
        for part in parts:
            _asya_check_json(part, line)
        rest.append({'tuple': parts} if type(item) is tuple else {'value': item} if type(item) is dict else item)
    size = len(_asya_json.dumps(rest).encode())
    if size > 65536:
        raise ValueError('The items of the loop at line ' + str(line) + ' take ' + str(size) + ' bytes; at most 65536 fit into an envelope')
    return {'rest': _asya_json.loads(_asya_json.dumps(rest))}


def _asya_check_json(value, line):
    """Raises TypeError for what JSON would change."""
    todo = [value]
    while todo:
        one = todo.pop()
        if type(one) is dict:
            todo.extend(one.values())
            if any(type(key) is not str for key in one):
                raise TypeError('An item of the loop at line ' + str(line) + ' has keys that are no strings; JSON would change them')
        elif type(one) is list:
            todo.extend(one)
        elif one is not None and type(one) not in (str, int, float, bool):
            raise TypeError('An item of the loop at line ' + str(line) + ' holds a ' + type(one).__name__ + '; JSON would change it')
        elif type(one) is float and (one != one or one in (float('inf'), float('-inf'))):
            raise TypeError('An item of the loop at line ' + str(line) + ' holds ' + repr(one) + '; JSON has no such number')


def _asya_advance(state, loop):
    """Take the next item of a for loop; False if none is left."""
    cursor = state[loop]
    if 'rest' in cursor:
        if not cursor['rest']:
            return False
        state[loop] = {'item': cursor['rest'][0], 'rest': cursor['rest'][1:]}
        return True
    left = range(cursor['start'], cursor['stop'], cursor['step'])
    if not left:
        return False
    state[loop] = {'item': left[0], 'start': left[0] + left.step, 'stop': left.stop, 'step': left.step}
    return True


def _asya_item(state, loop):
    """The item of the running turn, as the flow sees it."""
    item = state[loop]['item']
    if type(item) is dict:
        return tuple(item['tuple']) if 'tuple' in item else item['value']
    return item
'''

FOLDED: Final = '''\
def _asya_folded(envelope):
    """Run the router that the route names and, while the next entry is one of this flow, that one too, 64 at most."""
    own = _asya_os.environ.get('ASYA_FLOW_ACTOR', '')
    if not own:
        raise ValueError('ASYA_FLOW_ACTOR is not set; expected the name of the actor that runs the folded routers')
    for _ in range(64):
        route = envelope['route']
        current = _asya_position(route)
        actor, colon, step = route['actors'][current].partition(':')
        if colon and step not in _ASYA_FOLDED:
            raise ValueError('Route entry ' + repr(route['actors'][current]) + ' names no router of this flow; was it compiled anew?')
        envelope = _ASYA_FOLDED[step if colon else ''](envelope)
        route = envelope['route']
        if route['current'] >= len(route['actors']) or route['actors'][route['current']].partition(':')[0] != own:
            return envelope
    return envelope
'''

CHECK: Final = '''\
def _asya_main(arguments):
    """Preflight: tell for each name that the routers need which actor runs it."""
    if arguments != ['--check']:
        print('usage: python routers.py --check', file=_asya_sys.stderr)
        return 2
    missing = 0
    for name in _ASYA_NAMES:
        try:
            print('[+] ' + name + ' -> ' + resolve(name))
        except ValueError as error:
            missing += 1
            print('[-] ' + name + ': ' + ('' if 'ambiguous' in str(error) else 'set ' + _asya_variable(name) + '; ') + str(error))
    return 1 if missing else 0


if __name__ == '__main__':
    _asya_sys.exit(_asya_main(_asya_sys.argv[1:]))
'''


def _emitted() -> dict[str, Any]:
    space: dict[str, Any] = {}
    exec(compile(RESOLVE, "<resolve of routers.py>", "exec", dont_inherit=True), space)
    return space


_SPACE: Final = _emitted()


def find_actors(name: str, mappings: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The (actor, path) pairs that the emitted `resolve` would choose from; one is an answer, several are an ambiguity."""
    find: Callable[[str, list[tuple[str, str]]], list[tuple[str, str]]] = _SPACE["_asya_find"]
    return find(name, mappings)


def mappings_of(environ: dict[str, str]) -> list[tuple[str, str]]:
    """(actor, path) of the variables in `environ`, as the emitted code reads them."""
    read: Callable[[dict[str, str]], list[tuple[str, str]]] = _SPACE["_asya_mappings"]
    return read(environ)
