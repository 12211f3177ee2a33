import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { text } from 'node:stream/consumers';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { AppError } from '../src/errors.ts';
import { createHttpServer, type HttpServer } from '../src/http-server.ts';
import { createLog } from '../src/log.ts';

describe('an HTTP route without its own error handler', () => {
  const log: string[] = [];
  let app: HttpServer;
  let url: string;
  beforeAll(async () => {
    app = createHttpServer(createLog('info', { write: (line) => void log.push(line) }));
    app.get('/conflict', () => {
      throw new AppError('conflict', 'Read it again.', { details: { version: 7 } });
    });
    app.get('/broken', () => {
      throw Object.assign(new Error('wrong password of 10.0.0.7'), { code: 'EACCES' });
    });
    app.get('/invariant', () => {
      throw new AppError('internal', 'The row of 10.0.0.7 was not inserted.');
    });
    app.get('/refused', () => {
      // A closed port. Node reports the address in the message.
      const socket = connect(1, '127.0.0.1');
      return once(socket, 'connect');
    });
    app.get('/items/:id', () => 'found');
    app.post('/json', () => 'read');
    url = await app.listen({ port: 0, host: '127.0.0.1' });
  });
  afterAll(() => app.close());

  const answer = async (path: string, init?: RequestInit) => {
    const response = await fetch(`${url}${path}`, init);
    return {
      status: response.status,
      retryAfter: response.headers.get('retry-after'),
      body: (await response.json()) as Record<string, unknown>,
    };
  };

  it('answers an AppError with its code, status and details', async () => {
    expect(await answer('/conflict')).toEqual({
      status: 409,
      retryAfter: null,
      body: { error_code: 'conflict', message: 'Read it again.', version: 7 },
    });
  });

  it.each(['/broken', '/invariant'])(
    'hides the message of an unexpected error from the caller and logs it: %s',
    async (path) => {
      const { status, body } = await answer(`${path}?token=of-the-caller`);
      expect({ status, body }).toEqual({
        status: 500,
        body: {
          error_code: 'internal',
          message: 'Internal error. The server log contains the details under this trace_id.',
          trace_id: expect.any(String),
        },
      });
      const logged = log.find((line) => line.includes(String(body['trace_id'])));
      expect(logged).toContain('10.0.0.7');
      expect(logged).not.toContain('of-the-caller');
    },
  );

  it('answers 503 `unavailable` with Retry-After and without the address when a connection is refused', async () => {
    expect(await answer('/refused')).toEqual({
      status: 503,
      retryAfter: '5',
      body: {
        error_code: 'unavailable',
        message: 'The database is unavailable. Try again later.',
        trace_id: expect.any(String),
      },
    });
  });

  it.each([
    { method: 'GET', path: '/nothing?token=of-the-caller', named: '/nothing' },
    { method: 'PUT', path: '/conflict', named: '/conflict' },
    { method: 'DELETE', path: '/json', named: '/json' },
  ])('answers 404 `not_found` for $method $named', async ({ method, path, named }) => {
    expect(await answer(path, { method })).toEqual({
      status: 404,
      retryAfter: null,
      body: { error_code: 'not_found', message: `The server has no route ${method} ${named}.` },
    });
  });

  it.each([
    { what: 'JSON that cannot be parsed', type: 'application/json', body: '{', status: 400, code: 'validation_failed' },
    { what: 'an unknown media type', type: 'image/png', body: 'x', status: 415, code: 'unsupported_media_type' },
    {
      what: 'a body of more than 1 MiB',
      type: 'application/json',
      body: 'x'.repeat(1024 * 1024 + 1),
      status: 413,
      code: 'payload_too_large',
    },
  ])('answers $status `$code` for $what', async ({ type, body, status, code }) => {
    expect(await answer('/json', { method: 'POST', headers: { 'content-type': type }, body })).toMatchObject({
      status,
      body: { error_code: code, message: expect.any(String) },
    });
  });

  it('answers 414 `validation_failed` for a path parameter of more than 100 characters', async () => {
    expect(await answer(`/items/${'a'.repeat(101)}`)).toMatchObject({
      status: 414,
      body: { error_code: 'validation_failed', message: expect.any(String) },
    });
  });

  it('answers 400 `validation_failed` for a path that cannot be decoded', async () => {
    // Sent by hand, because clients encode the path.
    const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1');
    socket.write('GET /items/%c0 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n');
    const response = await text(socket);
    expect(response).toContain('HTTP/1.1 400 ');
    expect(response).toContain('{"error_code":"validation_failed","message":');
  });
});
