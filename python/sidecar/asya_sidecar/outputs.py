"""What is to be sent: outputs made from a reply, or an error record made from a failure.

Called by `decide`. Pure: bytes in, bytes out. Checks again what the runtime should have checked; a violation is ``bad_reply``.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from asya_core.wire.claims import make_claim
from asya_core.wire.envelope import FANOUT_HEADER, Envelope, child_id, parse, read
from asya_core.wire.errors import RemoteFault
from asya_core.wire.names import ERROR_END, HAPPY_END
from asya_core.wire.reply import EnvelopesReply, ErrorReply, PayloadsReply
from asya_core.wire.route import check_change
from asya_sidecar import splice
from asya_sidecar.checks import failure
from asya_sidecar.policy import Policy

__all__ = [
    "Claimed",
    "Draft",
    "claimed",
    "error_draft",
    "final_body",
    "from_reply",
    "shrunk",
    "too_large_draft",
    "unreadable_draft",
    "unroutable_draft",
]

_CAUGHT: Final = frozenset({"handler_error", "timeout"})
_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_any: Final = msgspec.json.decode


class Draft(msgspec.Struct, gc=False):
    """One message to be sent.

    Attributes:
        actor: whose queue it belongs in.
        body: the message.
        code: the error's code if it carries a failure; None if it is a result.
    """

    actor: str
    body: bytes
    code: str | None = None


def from_reply(
    envelope: Envelope, reply: PayloadsReply | EnvelopesReply, policy: Policy, *, attempt: int, at: datetime
) -> list[Draft] | ErrorReply:
    """All outputs of a run, or the failure that it is: ``bad_reply``, or ``payload_too_large`` if any one is.

    No items: the envelope itself for happy-end. Never a part of a list: all are good or none is sent.
    """
    if not reply.items:
        drafts: list[Draft] | ErrorReply = [Draft(HAPPY_END, splice.ended(envelope).encode())]
    elif isinstance(reply, PayloadsReply):
        drafts = _from_payloads(envelope, reply)
    else:
        drafts = _from_envelopes(envelope, reply, policy, attempt=attempt, at=at)
    if isinstance(drafts, ErrorReply):
        return drafts
    for index, draft in enumerate(drafts):
        if len(draft.body) > policy.max_message_bytes and draft.actor != ERROR_END and policy.claim_threshold is None:
            return _too_large(index, draft, policy)
    return drafts


class Claimed(msgspec.Struct, gc=False):
    """Outputs whose large payloads belong in claim storage before they are sent.

    Attributes:
        drafts: the messages, with claims in place of those payloads.
        objects: key and bytes of what is to be stored.
    """

    drafts: list[Draft]
    objects: tuple[tuple[str, bytes], ...]


def claimed(drafts: list[Draft], envelope: Envelope, threshold: int, policy: Policy) -> Claimed | ErrorReply:
    """The outputs of `from_reply` with payloads of `threshold` bytes and more moved out; ``payload_too_large`` if one still is.

    A payload that is the input's own keeps its claim and is not stored again. Error records stay as they are.
    """
    moved: list[Draft] = []
    objects: dict[str, bytes] = {}
    for index, draft in enumerate(drafts):
        kept = draft
        if len(draft.body) >= threshold and draft.actor != ERROR_END:
            output = parse(draft.body)
            payload = b"" if output.payload is None else bytes(output.payload)
            if len(payload) >= threshold:
                claim = make_claim(output.id, envelope.route.current, payload)
                known = envelope.claim
                if known is not None and (known.sha256, known.bytes) == (claim.sha256, claim.bytes):
                    claim = known
                else:
                    objects[claim.key] = payload
                kept = Draft(draft.actor, output.changed(claim=claim).encode(), draft.code)
            if len(kept.body) > policy.max_message_bytes:
                return _too_large(index, kept, policy)
        moved.append(kept)
    return Claimed(moved, tuple(objects.items()))


def _too_large(index: int, draft: Draft, policy: Policy) -> ErrorReply:
    return failure(
        "payload_too_large", f"Output {index} is a message of {len(draft.body)} bytes; expected at most {policy.max_message_bytes}"
    )


def error_draft(envelope: Envelope, reason: ErrorReply, policy: Policy, *, attempt: int, at: datetime) -> Draft:
    """The message that a failed envelope becomes: for the top catch entry if the failure is one that is caught, else for error-end."""
    error = splice.error_member(reason, actor=policy.actor, attempt=attempt, at=at)
    if reason.code in _CAUGHT:
        return _caught_or_failed(envelope, error, policy)
    return _failed(envelope, error, policy)


def unreadable_draft(body: bytes, reason: ErrorReply, policy: Policy, *, actor: str, attempt: int, at: datetime) -> Draft:
    """The error record of a message that is no envelope; `actor` is who was to read it."""
    error = splice.error_member(reason, actor=actor, attempt=attempt, at=at)
    return Draft(ERROR_END, splice.unreadable(body, error, actor=actor, limit_bytes=policy.max_message_bytes), reason.code)


def unroutable_draft(draft: Draft, policy: Policy, *, attempt: int, at: datetime) -> Draft:
    """The error record of an output whose queue does not exist: the envelope as it was to be sent, so that a replay runs nothing again."""
    reason = failure("unroutable", f"Queue {policy.queue(draft.actor)} of actor {draft.actor} does not exist")
    error = splice.error_member(reason, actor=policy.actor, attempt=attempt, at=at)
    return _failed(parse(draft.body), error, policy)


def too_large_draft(draft: Draft, envelope: Envelope, policy: Policy, *, attempt: int, at: datetime) -> Draft:
    """The error record of an output that the broker found too large: its own id, with the route and payload that this actor received.

    What was on its way to a catch entry keeps its error.
    """
    output = parse(draft.body)
    kept = envelope.changed(id=output.id, parent_id=output.parent_id, headers=output.headers)
    if draft.code is not None:
        return _failed(kept, _decode_any(output.members["error"]), policy)
    reason = failure("payload_too_large", f"Output for actor {draft.actor} is {len(draft.body)} bytes; the broker takes fewer")
    return _failed(kept, splice.error_member(reason, actor=policy.actor, attempt=attempt, at=at), policy)


def shrunk(draft: Draft) -> Draft | None:
    """A shorter form of an error record that the broker found too large; None if it cannot be any shorter."""
    record = parse(draft.body)
    body = splice.fitted(record, _decode_any(record.members["error"]), len(draft.body) // 2)
    return Draft(draft.actor, body, draft.code) if len(body) < len(draft.body) else None


def final_body(envelope: Envelope, reply: PayloadsReply | EnvelopesReply) -> bytes | ErrorReply:
    """The end actor's output as JSON bytes: the one envelope that it returned, with ``asya_stored``; anything else is ``bad_reply``."""
    if isinstance(reply, PayloadsReply) or len(reply.items) != 1:
        return failure("bad_reply", "End actor's handler returned no envelope; expected exactly one in envelope mode")
    item = _read_item(*reply.items[0])
    if isinstance(item, ErrorReply):
        return item
    if item.id != envelope.id:
        return failure("bad_reply", f"End actor's handler returned envelope {item.id}; expected {envelope.id}")
    return item.encode()


def _from_payloads(envelope: Envelope, reply: PayloadsReply) -> list[Draft] | ErrorReply:
    count = len(reply.items)
    if not reply.fan_out:
        if count > 1:
            return failure("bad_reply", f"Runtime sent {count} payloads without the fan-out flag; expected at most 1")
        return [_onward(splice.advanced(envelope, reply.items[0]))]
    return [_onward(splice.child(envelope, item, index=index, siblings=count)) for index, item in enumerate(reply.items)]


def _from_envelopes(envelope: Envelope, reply: EnvelopesReply, policy: Policy, *, attempt: int, at: datetime) -> list[Draft] | ErrorReply:
    count = len(reply.items)
    if not reply.fan_out and count > 1:
        return failure("bad_reply", f"Runtime sent {count} envelopes without the fan-out flag; expected at most 1")
    items = []
    for head, payload in reply.items:
        item = _read_item(head, payload)
        if isinstance(item, ErrorReply):
            return item
        broken = _broken_rule(envelope, item, fan_out=reply.fan_out)
        if broken is not None:
            return failure("bad_reply", broken)
        items.append(item)
    identities = _identities(envelope, items, fan_out=reply.fan_out)
    drafts = []
    for item, (item_id, parent_id, siblings) in zip(items, identities, strict=True):
        given = _given_error(item)
        headers = splice.mark_hop(envelope, item.headers, siblings=siblings, hops=1 if given is None else 0)
        if not siblings and parent_id is not None:
            headers.pop(FANOUT_HEADER, None)  # a part beside its parent, which goes on: it is none of the parent's siblings
        output = item.changed(id=item_id, parent_id=parent_id, headers=headers)
        if given is None:
            drafts.append(_onward(output))
        else:
            error = _completed_error(given, actor=policy.actor, attempt=attempt, at=at)
            drafts.append(_caught_or_failed(output.changed(route=envelope.route), error, policy))
    return drafts


def _identities(envelope: Envelope, items: Sequence[Envelope], *, fan_out: bool) -> list[tuple[str, str | None, int]]:
    """Id, parent and sibling count of each item. An input id that is given once is a parent that goes on: then nobody has siblings."""
    own = sum(item.id == envelope.id for item in items)
    siblings = len(items) if fan_out and own != 1 else 0
    identities: list[tuple[str, str | None, int]] = []
    for index, item in enumerate(items):
        if item.id != envelope.id:
            identities.append((item.id, envelope.id, siblings))
        elif siblings:
            identities.append((child_id(envelope.id, envelope.route.current, index), envelope.id, siblings))
        else:
            identities.append((item.id, None, 0))
    return identities


def _read_item(head: bytes, payload: bytes) -> Envelope | ErrorReply:
    try:
        members = _decode_members(head)
        if "payload" in members:
            return failure("bad_reply", "Runtime sent an envelope whose head holds a payload")
        members["payload"] = msgspec.Raw(payload)
        return read(members)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return failure("bad_reply", f"Runtime sent an envelope whose head is no JSON object: {error}")
    except RemoteFault as fault:
        return failure("bad_reply", f"Runtime sent an envelope that is none: {fault.message}")


def _broken_rule(before: Envelope, after: Envelope, *, fan_out: bool) -> str | None:
    if after.parent_id != before.parent_id:
        return "Returned envelope has another parent_id"
    if after.deadline != before.deadline:
        return "Returned envelope has another deadline"
    if not fan_out and after.id != before.id:
        return "Returned envelope has another id"
    if _given_error(after) is not None:
        return None
    change = check_change(before.route, after.route)
    return None if change is None else change.message


def _given_error(item: Envelope) -> object | None:
    raw = item.members.get("error")
    return None if raw is None else _decode_any(raw)


def _completed_error(given: object, *, actor: str, attempt: int, at: datetime) -> dict[str, object]:
    """All eight fields: those that the handler gave, if they have the right type, and defaults for the rest."""
    fields: dict[str, Any] = given if isinstance(given, dict) else {"message": given if isinstance(given, str) else repr(given)}
    code, kind, mro, text = fields.get("code"), fields.get("type"), fields.get("mro"), fields.get("traceback")
    message = fields.get("message")
    error = splice.error_member(
        ErrorReply(
            code=code if isinstance(code, str) and code else "handler_error",
            type=kind if isinstance(kind, str) else None,
            mro=tuple(name for name in mro if isinstance(name, str)) if isinstance(mro, list) else (),
            message=message if isinstance(message, str) else "",
            traceback=text if isinstance(text, str) else None,
        ),
        actor=actor,
        attempt=attempt,
        at=at,
    )
    for key, expected in (("actor", str), ("attempt", int), ("at", str)):
        if isinstance(fields.get(key), expected):
            error[key] = fields[key]
    return error


def _onward(output: Envelope) -> Draft:
    return Draft(output.route.actor, output.encode())


def _caught_or_failed(envelope: Envelope, error: dict[str, object], policy: Policy) -> Draft:
    caught = splice.caught(envelope, error)
    if caught is not None:
        body = caught.encode()
        if len(body) <= policy.max_message_bytes:
            return Draft(caught.route.actor, body, str(error["code"]))
    return _failed(envelope, error, policy)


def _failed(envelope: Envelope, error: dict[str, object], policy: Policy) -> Draft:
    keeps_claim = policy.claim_threshold is not None and error["code"] != "claim_invalid"
    body = splice.fitted(splice.failed(envelope, error, keeps_claim=keeps_claim), error, policy.max_message_bytes)
    return Draft(ERROR_END, body, str(error["code"]))
