"""A connector on Python's websockets, told what to do by a test; tokens are verified by the reference's own code.

Commands:
  {"do":"text","text":…}       one text message, as it is
  {"do":"binary","hex":…}      one binary message
  {"do":"close","code":…,"reason":…}
  {"do":"cut"}                 the connection is gone, without a word
Events: listening (url), linked (path, owner of the token, auth), frame (frame), closed (code, reason), the last two of the link that they name.
"""

import asyncio
import json
import os

from gateway.relay.auth import verify_token
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from lines import commands, tell

links = []


def owner(token):
    """Whose token it is, by the reference's own verification; None when it is not genuine, or none."""
    return token and verify_token(token, [os.environ["SECRET"]])


async def link(ws):
    scheme, _, token = ws.request.headers.get("Authorization", "").partition(" ")
    links.append(ws)
    number = len(links)
    tell("linked", link=number, path=ws.request.path, owner=owner(token if scheme == "Bearer" else None), auth=bool(scheme))
    try:
        async for message in ws:
            assert isinstance(message, str) and message.endswith("\n") and message.count("\n") == 1
            tell("frame", link=number, frame=json.loads(message))
    except ConnectionClosed:
        pass
    tell("closed", link=number, code=ws.close_code, reason=ws.close_reason)


async def main():
    async with serve(link, "127.0.0.1", 0) as server:
        tell("listening", url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async for command in commands():
            ws = links[-1]
            match command["do"]:
                case "text":
                    await ws.send(command["text"])
                case "binary":
                    await ws.send(bytes.fromhex(command["hex"]))
                case "close":
                    await ws.close(command["code"], command.get("reason", ""))
                case "cut":
                    ws.transport.abort()


asyncio.run(main())
