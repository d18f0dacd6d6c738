"""The echo server of compare_network on asyncio, or on uvloop: with a protocol, or with
streams. Prints its port.

    asyncio_echo.py [--uvloop] [--streams]
"""

import asyncio
import resource
import socket
import sys


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.write = transport.write

    def data_received(self, data):
        self.write(data)

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


async def echo(reader, writer):
    try:
        while data := await reader.read(262144):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


async def main(streams):
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: None)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    if streams:
        server = await asyncio.start_server(echo, sock=listener, backlog=4096)
    else:
        server = await loop.create_server(Echo, sock=listener, backlog=4096)
    print(listener.getsockname()[1], flush=True)
    await server.serve_forever()


_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
if "--uvloop" in sys.argv:
    import uvloop

    uvloop.install()
asyncio.run(main("--streams" in sys.argv))
