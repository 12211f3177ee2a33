import { once } from 'node:events';
import { connect } from 'node:net';
import { promisify } from 'node:util';
import {
  brotliCompressSync,
  constants,
  createGzip,
  deflateRawSync,
  deflateSync,
  gzipSync,
  zstdCompressSync,
} from 'node:zlib';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  type EventAnswer,
  startTestService,
  type TestService,
  WELCOME_TEMPLATE,
  welcomeEvent,
} from './support/service.ts';

const TENANT = 'tenant-encoding';
const MIB = 1024 * 1024;

describe('a compressed request body', () => {
  let service: TestService;
  let token: string;
  beforeAll(async () => {
    service = await startTestService();
    await service.core.templates.publish(TENANT, [WELCOME_TEMPLATE], null);
    token = await service.token({ tenant_id: TENANT, permissions: ['notif.ingest'] });
  });
  afterAll(() => service.close());

  const post = async (path: string, body: Uint8Array, encoding: string, type = 'application/cloudevents+json') => {
    const response = await fetch(`${service.url}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': type, 'content-encoding': encoding },
      body: new Uint8Array(body),
    });
    return {
      status: response.status,
      accepts: response.headers.get('accept-encoding'),
      answer: (await response.json()) as EventAnswer & { data?: unknown; errors?: { extensions: unknown }[] },
    };
  };
  const event = (): Buffer => {
    const data = welcomeEvent(TENANT, { params: { full_name: 'Đức', first_login_at: 'x'.repeat(10_000) } });
    const type = 'notification.triggered.v1';
    return Buffer.from(JSON.stringify({ specversion: '1.0', id: '1', source: '/t', type, data }));
  };

  it.each([
    ['gzip', (body: Buffer) => gzipSync(body)],
    ['x-gzip', (body: Buffer) => gzipSync(body)],
    ['GZIP', (body: Buffer) => Buffer.concat([gzipSync(body.subarray(0, 100)), gzipSync(body.subarray(100))])],
    ['deflate', (body: Buffer) => deflateSync(body)],
    ['deflate', (body: Buffer) => deflateRawSync(body)],
    ['br', (body: Buffer) => brotliCompressSync(body)],
    ['zstd', (body: Buffer) => zstdCompressSync(body)],
    ['identity', (body: Buffer) => body],
  ])('with %s is accepted', async (encoding, compress) => {
    const { status, answer } = await post('/events', compress(event()), encoding);
    expect([status, answer.results[0]?.status]).toEqual([202, 'accepted']);
    const query = Buffer.from('{"query": "{ unreadNotificationCount }"}');
    const graphql = await post('/graphql', compress(query), encoding, 'application/json');
    expect([graphql.status, graphql.answer.data]).toEqual([200, { unreadNotificationCount: 0 }]);
  });

  it.each([
    ['gzip', (size: number) => gzipSync(Buffer.alloc(size, ' '))],
    ['deflate', (size: number) => deflateSync(Buffer.alloc(size, ' '))],
    [
      'br',
      (size: number) =>
        brotliCompressSync(Buffer.alloc(size, ' '), { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
    ],
    ['zstd', (size: number) => zstdCompressSync(Buffer.alloc(size, ' '))],
  ])('with %s has a size limit after decompression', async (encoding, compress) => {
    for (const [path, limit] of [
      ['/events', 4 * MIB],
      ['/graphql', MIB],
    ] as const) {
      const type = path === '/events' ? 'application/cloudevents+json' : 'application/json';
      expect((await post(path, compress(limit), encoding, type)).status).toBe(400);
      const { status, answer } = await post(path, compress(limit + 1), encoding, type);
      expect(status).toBe(413);
      expect(JSON.stringify(answer)).toContain('payload_too_large');
    }
  });

  it('that decompresses to a gigabyte is refused while it is read', async () => {
    const gzip = createGzip();
    const chunks: Buffer[] = [];
    gzip.on('data', (chunk: Buffer) => chunks.push(chunk));
    const blank = Buffer.alloc(16 * MIB, ' ');
    const write = promisify(gzip.write.bind(gzip) as (chunk: Buffer, done: (error?: Error | null) => void) => boolean);
    for (let count = 0; count < 64; count += 1) await write(blank);
    gzip.end();
    await once(gzip, 'end');
    const before = process.memoryUsage().rss;
    expect((await post('/events', Buffer.concat(chunks), 'gzip')).status).toBe(413);
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * MIB);
  });

  it.each([
    ['gzip', Buffer.from('no gzip')],
    ['gzip', gzipSync(Buffer.from('{}')).subarray(0, -9)],
    ['deflate', Buffer.from([0x78, 0x9c, 1, 2, 3])],
    ['br', Buffer.from('no brotli, certainly not')],
    ['zstd', Buffer.from('no zstd')],
    [
      'zstd',
      zstdCompressSync(Buffer.alloc(64 * MIB), {
        params: { [constants.ZSTD_c_windowLog]: 26 },
        pledgedSrcSize: undefined as never,
      }),
    ],
  ])('that is not valid %s is validation_failed', async (encoding, body) => {
    const { status, answer } = await post('/events', body, encoding);
    expect({ status, ...answer }).toMatchObject({
      status: 400,
      error_code: 'validation_failed',
      message: `The request body is not valid ${encoding}.`,
    });
    const graphql = await post('/graphql', body, encoding, 'application/json');
    expect([graphql.status, graphql.answer.errors?.[0]?.extensions]).toEqual([
      400,
      expect.objectContaining({ error_code: 'validation_failed' }),
    ]);
  });

  it.each(['compress', 'gzip, br', 'br,br', '__proto__', 'toString'])('with %s is unsupported', async (encoding) => {
    const { status, accepts, answer } = await post('/events', gzipSync(event()), encoding);
    expect([status, accepts, answer.error_code]).toEqual([415, 'gzip, deflate, br, zstd', 'unsupported_media_type']);
    expect(answer.message).toBe('The Content-Encoding must be one of gzip, deflate, br, zstd.');
  });

  it('whose client disconnects does not harm the next one', async () => {
    const body = gzipSync(event());
    const { hostname, port } = new URL(service.url);
    for (const encoding of ['gzip', 'deflate']) {
      const socket = connect(Number(port), hostname);
      await once(socket.resume(), 'connect');
      const head = `POST /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/cloudevents+json\r\n`;
      socket.write(`${head}Content-Encoding: ${encoding}\r\nContent-Length: ${body.length}\r\n\r\n`);
      socket.write(body.subarray(0, 20));
      socket.end();
      await once(socket, 'close');
    }
    expect((await post('/events', body, 'gzip')).status).toBe(202);
  });
});
