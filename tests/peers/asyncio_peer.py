"""The other side of asyncio_test.cc, in CPython's asyncio."""

import asyncio
import ssl
import sys


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    writer.close()


async def upgrade(reader, writer):
    assert await reader.readline() == b'STARTTLS\n'
    writer.write(b'go\n')
    await writer.drain()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    await writer.start_tls(context)
    await echo(reader, writer)


async def serve(handler):
    server = await asyncio.start_server(handler, '127.0.0.1', 0)
    print('port', server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def talk(reader, writer):
    text = b''.join(b'line %d\n' % i for i in range(20000))
    async def send():
        writer.write(text)
        await writer.drain()
    sending = asyncio.create_task(send())
    assert await reader.readexactly(len(text)) == text
    await sending
    if writer.can_write_eof():
        writer.write_eof()
        assert await reader.read() == b''
    writer.close()
    await writer.wait_closed()
    print('done', flush=True)


async def client(port):
    await talk(*await asyncio.open_connection('127.0.0.1', port))


async def upgrading_client(port, ca_file):
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    writer.write(b'STARTTLS\n')
    assert await reader.readline() == b'go\n'
    context = ssl.create_default_context(cafile=ca_file)
    await writer.start_tls(context, server_hostname='localhost')
    await talk(reader, writer)


class DatagramEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)


async def datagrams():
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        DatagramEcho, local_addr=('127.0.0.1', 0))
    print('port', transport.get_extra_info('sockname')[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main():
    mode = sys.argv[1]
    if mode == 'serve':
        asyncio.run(serve(echo))
    elif mode == 'serve_upgrade':
        asyncio.run(serve(upgrade))
    elif mode == 'client':
        asyncio.run(client(int(sys.argv[2])))
    elif mode == 'client_upgrade':
        asyncio.run(upgrading_client(int(sys.argv[2]), sys.argv[3]))
    elif mode == 'datagrams':
        asyncio.run(datagrams())


main()
