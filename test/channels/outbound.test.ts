import { createServer, type Server } from 'node:net';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { createHttpClient } from '../../src/channels/http-client.ts';
import { createOutboundGuard, OutboundForbidden } from '../../src/channels/outbound.ts';

const FORBIDDEN = [
  '0.0.0.0',
  '10.1.2.3',
  '100.64.0.1',
  '127.0.0.1',
  '127.255.255.254',
  '169.254.169.254',
  '172.16.0.1',
  '172.31.255.255',
  '192.0.0.192',
  '192.168.1.1',
  '198.18.0.1',
  '224.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  '::ffff:127.0.0.1',
  '::ffff:7f00:1',
  '64:ff9b::7f00:1',
  '2002:7f00:1::1',
  '2001::1',
  'fc00::1',
  'fd00:ec2::254',
  'fe80::1',
  'ff02::1',
];

describe('createOutboundGuard', () => {
  const guard = createOutboundGuard([]);

  it.each(FORBIDDEN)('blocks %s', (address) => {
    expect(() => guard.checkLiteral(address)).toThrow(OutboundForbidden);
  });

  it.each(['1.1.1.1', '8.8.8.8', '172.32.0.1', '2606:4700::1111'])('allows %s', (address) => {
    guard.checkLiteral(address);
    expect(() => guard.checkLiteral(address)).not.toThrow(OutboundForbidden);
  });

  it('allows hosts, addresses and ranges from OUTBOUND_ALLOW', () => {
    const lenient = createOutboundGuard(['10.0.0.0/8', '127.0.0.1', 'fd00::/8', 'relay.internal']);
    for (const address of ['10.9.9.9', '127.0.0.1', 'fd12::1']) {
      expect(() => lenient.checkLiteral(address)).not.toThrow(OutboundForbidden);
    }
    for (const address of ['127.0.0.2', '192.168.0.1', '::1']) {
      expect(() => lenient.checkLiteral(address)).toThrow(OutboundForbidden);
    }
  });

  describe('with a server on loopback', () => {
    let server: Server;
    let port: number;
    let connections = 0;
    beforeAll(async () => {
      server = createServer((socket) => {
        connections += 1;
        socket.destroy();
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      port = (server.address() as { port: number }).port;
    });
    afterAll(() => new Promise((resolve) => server.close(resolve)));

    // Names that resolve to loopback, and notations of addresses that only the resolver or the parser understands.
    it.each(['localhost', '127.0.0.1', '0x7f000001', '2130706433', '0177.0.0.1', '127.1'])(
      'opens no connection to %s',
      async (host) => {
        await expect(guard.connect(host, port, 2_000)).rejects.toThrow(/is not public|ENOTFOUND|EINVAL/);
        const http = createHttpClient([]);
        const limits = { timeoutMs: 2_000, isTrusted: false };
        expect(await http.send(`http://${host}:${port}/`, { headers: {} }, limits)).toMatchObject({
          errorCode: 'outbound_forbidden',
        });
        await http.close();
        expect(connections).toBe(0);
      },
    );

    it('does not reveal the address of a name', async () => {
      const http = createHttpClient([]);
      const answer = await http.send(
        `http://localhost:${port}/`,
        { headers: {} },
        { timeoutMs: 2_000, isTrusted: false },
      );
      expect(JSON.stringify(answer)).not.toMatch(/127|localhost|::1/);
      await http.close();
    });

    it('connects to an allowed name', async () => {
      const socket = await createOutboundGuard(['localhost']).connect('localhost', port, 2_000);
      socket.destroy();
      expect(socket.remoteAddress ?? '127.0.0.1').toBe('127.0.0.1');
    });
  });
});
