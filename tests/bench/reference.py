"""The reference gateway's transport, as it is in hermes-agent, reading deliveries.

  reference.py loop FRAME COUNT       its read loop, over messages that are in memory
  reference.py socket ADDRESS COUNT   the whole transport, over a socket

Tells, as lines of JSON, when it is ready for the deliveries that warm up, a tenth, and for the others, and then how many of
these it read each second.
"""

import asyncio
import json
import sys
import time

from gateway.relay.ws_transport import WebSocketRelayTransport


class Messages:
    """In place of the WebSocket."""

    def __init__(self, frame, count):
        self.frame = frame
        self.count = count
        self.acknowledged = 0

    async def __aiter__(self):
        for _ in range(self.count):
            yield self.frame

    async def send(self, text):
        self.acknowledged += 1


class Meter:
    def __init__(self, count):
        self.warm = -(-count // 10)
        self.count = count
        self.seen = 0
        self.read = 0
        self.done = asyncio.Event()

    async def inbound(self, event):
        self.read += len(event.text) + len(event.source.chat_id) + len(event.source.user_id)
        self.seen += 1
        if self.seen == self.warm:
            self.began = time.perf_counter()
            tell(ready=True)
        if self.seen == self.count:
            self.ended = time.perf_counter()
            self.done.set()

    def tell(self):
        tell(rate=(self.count - self.warm) / (self.ended - self.began))


def tell(**what):
    print(json.dumps(what), flush=True)


async def main():
    mode, what, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    meter = Meter(count)
    address = f"ws://{what}" if mode == "socket" else "ws://127.0.0.1:1"
    transport = WebSocketRelayTransport(address, "discord", "bot", reconnect=False)
    transport.set_inbound_handler(meter.inbound)
    if mode == "loop":
        tell(ready=True)
        transport._ws = Messages(what, count)
        await transport._read_loop()
        assert meter.seen == transport._ws.acknowledged == count
        meter.tell()
        return
    await transport.connect()
    await transport.handshake()
    tell(ready=True)
    await meter.done.wait()
    meter.tell()
    # What is left of the acknowledgements is written meanwhile.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
