"""The reference gateway's transport, as it is in hermes-agent, told what to do by a test.

Commands, each answered with {"event":"done","result":…}, or with {"event":"failed",…}:
  {"do":"connect"}  {"do":"call","method":…,"args":[…],"kwargs":{…}}  {"do":"hold"}  {"do":"release"}
Events: linked, link_ended, inbound, interrupt, passthrough, each with the number of its link.
"""

import asyncio
import os
import sys

from gateway.relay.ws_transport import WebSocketRelayTransport

from lines import commands, tell


class Puppet:
    def __init__(self, url):
        names = {"reconnect": True, "reconnect_backoff_s": 0.01, "reconnect_max_backoff_s": 0.05}
        names["identities"] = [("discord", "b1"), ("telegram", "b2")]
        known = WebSocketRelayTransport.__init__.__kwdefaults__
        # The first version fronts one platform, and does not dial again by itself.
        names = {name: value for name, value in names.items() if name in known}
        self.transport = WebSocketRelayTransport(
            url,
            "discord",
            "b1",
            gateway_id=os.environ.get("GATEWAY_ID"),
            upgrade_secret=os.environ.get("GATEWAY_SECRET"),
            **names,
        )
        self.transport._dormant_redial_s = 0.01
        self.transport.set_inbound_handler(self.inbound)
        self.transport.set_interrupt_inbound_handler(self.interrupt)
        if hasattr(self.transport, "set_passthrough_handler"):
            self.transport.set_passthrough_handler(self.passthrough)
        # Told of every link, those that the transport makes by itself included.
        name = "_dial_and_start" if hasattr(self.transport, "_dial_and_start") else "connect"
        self.dial = getattr(self.transport, name)
        setattr(self.transport, name, self.dialled)
        self.link = 0
        self.watches = set()
        self.free = asyncio.Event()
        self.free.set()

    async def dialled(self):
        await self.dial()
        self.link += 1
        tell("linked", link=self.link)
        watch = asyncio.create_task(self.watch(self.link, self.transport._ws, self.transport._reader))
        self.watches.add(watch)
        watch.add_done_callback(self.watches.discard)
        return True

    async def watch(self, link, ws, reader):
        await asyncio.wait([reader])
        await ws.wait_closed()
        revoked = getattr(self.transport, "auth_revoked", None)
        supervisor = getattr(self.transport, "_supervisor", None)
        dials_again = supervisor is not None and not supervisor.done()
        tell("link_ended", link=link, code=ws.close_code, revoked=revoked, dials_again=dials_again)

    async def inbound(self, event):
        source = event.source
        scope = getattr(source, "scope_id", None) or getattr(source, "guild_id", None)
        tell(
            "inbound",
            link=self.link,
            text=event.text,
            message_id=event.message_id,
            platform=source.platform.value,
            chat_id=source.chat_id,
            scope=scope,
        )
        await self.free.wait()

    async def interrupt(self, session_key, chat_id):
        tell("interrupt", link=self.link, session_key=session_key, chat_id=chat_id)

    async def passthrough(self, forward, buffer_id=None):
        tell(
            "passthrough",
            link=self.link,
            platform=forward.platform,
            bot_id=forward.bot_id,
            method=forward.method,
            path=forward.path,
            headers=forward.headers,
            body=forward.body.hex(),
            buffer_id=buffer_id,
        )

    async def obey(self, command):
        match command["do"]:
            case "connect":
                await self.transport.connect()
                descriptor = await self.transport.handshake()
                return {name: getattr(descriptor, name) for name in ("platform", "max_message_length", "len_unit")}
            case "call":
                method = getattr(self.transport, command["method"])
                return await method(*command.get("args", []), **command.get("kwargs", {}))
            case "hold":
                self.free.clear()
            case "release":
                self.free.set()

    async def answer(self, command):
        try:
            tell("done", result=await self.obey(command))
        except Exception as error:
            tell("failed", error=repr(error), code=getattr(self.transport._ws, "close_code", None))


async def main():
    puppet = Puppet(sys.argv[1])
    tasks = set()
    async for command in commands():
        task = asyncio.create_task(puppet.answer(command))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await puppet.transport.disconnect()


asyncio.run(main())
