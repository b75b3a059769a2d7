"""`helm test`: asks both Services of the gateway. Arguments: the public and the internal address. Standard library only."""

import json
import sys
import urllib.error
import urllib.request


def ask(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read()
    except OSError as error:
        return 0, str(error).encode()


def main(public: str, internal: str) -> int:
    status, body = ask(f"{internal}/readyz")
    lines = [f"{internal}/readyz: {status} {body.decode(errors='replace').strip()}"]
    is_well = status == 200
    status, body = ask(f"{public}/tools")
    if status == 200:
        lines.append(f"{public}/tools: {len(json.loads(body)['tools'])} tools")
    elif status == 401:
        lines.append(f"{public}/tools: wants a credential")
    else:
        lines.append(f"{public}/tools: {status} {body.decode(errors='replace').strip()}")
        is_well = False
    sys.stdout.write("\n".join([*lines, ""]))
    return 0 if is_well else 1


sys.exit(main(*sys.argv[1:3]))
