"""What a message's bytes look like as the text of an SQS message, and back. Pure.

SQS takes the characters of XML 1.0 only, and at least one. A body that is such a text, as every ordinary envelope is, travels as it is and
can be read by anything else that consumes the queue. Any other body (empty, not UTF-8, U+FFFE, most control characters) begins with a
mark, and each byte or character that may not travel is written as ``~`` and its number in hexadecimal.

Called by the transport and the administration. Source of the characters: SendMessage in the SQS API reference.
"""

import re
from typing import Final

__all__ = ["decode_body", "encode_body"]

_MARK: Final = "asya-escaped:"
_NOT_XML: Final = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
_TO_ESCAPE: Final = re.compile("[^\\t\\n\\r\\x20-\\x7d\\x7f-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
_ESCAPE: Final = re.compile("~([0-9a-f]{4})")


def encode_body(body: bytes) -> str:
    """The text that stands for `body`; its UTF-8 is as long as `body` unless something had to be escaped."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        pass
    else:
        if text and not text.startswith(_MARK) and _NOT_XML.search(text) is None:
            return text
    # Bytes that are not UTF-8 become U+DC80 to U+DCFF, which are no characters of XML.
    return _MARK + _TO_ESCAPE.sub(lambda found: f"~{ord(found[0]):04x}", body.decode(errors="surrogateescape"))


def decode_body(text: str) -> bytes:
    """The bytes that `text` stands for; a text that this module did not write is taken as it is."""
    if not text.startswith(_MARK):
        return text.encode(errors="surrogatepass")
    plain = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text[len(_MARK) :])
    try:
        return plain.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # it looks like ours and is not
        return text.encode(errors="surrogatepass")
