import { createHmac } from 'node:crypto';
import { once } from 'node:events';

import { exportSPKI } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket as NodeWebSocket } from 'ws';

import type { Service } from '../../src/service.ts';
import { DeliveryLogsDocument, UnreadCountDocument } from '../generated/operations.ts';
import { resumingInbox } from '../resolvers/subscriptions/resuming-inbox.ts';
import { connectionOutcome, query, run } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { activityEvent, postEvent, startTestService, type TestService, welcomeEvent } from '../support/service.ts';
import { sql } from '../support/sql.ts';
import {
  AUDIENCE,
  createSigner,
  ISSUER,
  type JwksServer,
  ordinaryClaims,
  secondsFromNow,
  type Signer,
  startJwksServer,
  TENANT,
} from './issuer.ts';

describe('a token', () => {
  let signer: Signer;
  let jwks: JwksServer;
  let service: TestService;

  beforeAll(async () => {
    signer = await createSigner('RS256', 'key-1');
    jwks = await startJwksServer(signer);
    service = await startTestService({ JWKS_URL: jwks.url, JWT_ISSUER: ISSUER, JWT_AUDIENCE: AUDIENCE });
  });
  afterAll(async () => {
    await service.close();
    await jwks.close();
  });

  const overHttp = (to: Pick<Service, 'url'>, token: string | undefined, tenant?: string) =>
    run(to.url, token, UnreadCountDocument, {}, tenant === undefined ? {} : { 'x-tenant-id': tenant });
  const overSocket = async (to: Pick<Service, 'url'>, token: string | undefined, tenant?: string) => {
    const payload = { ...(token === undefined ? {} : { token }), headers: { 'x-tenant-id': tenant } };
    const outcome = await connectionOutcome(to.url, payload);
    outcome.socket.close();
    return outcome;
  };

  const encode = (part: unknown): string => Buffer.from(JSON.stringify(part)).toString('base64url');
  const unsigned = (header: object, signature = ''): string =>
    `${encode(header)}.${encode(ordinaryClaims())}.${signature}`;
  const withPublicKeyAsSecret = async (): Promise<string> => {
    const text = unsigned({ alg: 'HS256', kid: signer.kid }).slice(0, -1);
    const secret = await exportSPKI(signer.publicKey);
    return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
  };
  const signedByStranger = async (): Promise<string> => (await createSigner('RS256', signer.kid)).sign();
  const tampered = async (): Promise<string> => {
    const [header, , signature] = (await signer.sign()).split('.');
    return `${header}.${encode({ ...ordinaryClaims(), role: 'superadmin' })}.${signature}`;
  };

  const withOwnKey = async (): Promise<string> => {
    const stranger = await createSigner('RS256', signer.kid);
    return stranger.sign({}, { jwk: stranger.publicJwk });
  };
  const withOwnKeyUrl = async (): Promise<string> => {
    const stranger = await createSigner('RS256', signer.kid);
    return stranger.sign({}, { jku: 'http://127.0.0.1:9/keys', x5u: 'http://127.0.0.1:9/keys' });
  };

  interface Refusal {
    case: string;
    token: () => Promise<string | undefined> | string | undefined;
    tenant?: string;
    code: string;
    http: number;
    socket: number;
  }
  const invalid = { code: 'invalid_token', http: 401, socket: 4401 };
  const malformed = { code: 'invalid_token', http: 400, socket: 4400 };
  const mismatch = { code: 'tenant_mismatch', http: 403, socket: 4403 };
  const refusals: Refusal[] = [
    { case: 'that is missing', token: () => undefined, code: 'unauthenticated', http: 401, socket: 4401 },
    {
      case: 'that has expired',
      token: () => signer.sign({ exp: secondsFromNow(-60) }),
      code: 'token_expired',
      http: 401,
      socket: 4403,
    },
    { case: 'that is not a JWT', token: () => 'not-a-jwt', ...malformed },
    { case: 'that only looks like a JWT', token: () => 'a.b.c', ...malformed },
    { case: 'with a signature of another key', token: signedByStranger, ...invalid },
    { case: 'that was changed after signing', token: tampered, ...invalid },
    { case: 'signed with an unknown key id', token: () => signer.sign({}, { kid: 'unknown' }), ...invalid },
    { case: 'of another issuer', token: () => signer.sign({ iss: 'https://evil.test/' }), ...invalid },
    { case: 'without an issuer', token: () => signer.sign({ iss: undefined }), ...invalid },
    { case: 'for another audience', token: () => signer.sign({ aud: 'billing' }), ...invalid },
    { case: 'without an audience', token: () => signer.sign({ aud: undefined }), ...invalid },
    { case: 'with algorithm none', token: () => unsigned({ alg: 'none' }), ...invalid },
    { case: 'signed by HS256 with the public key', token: withPublicKeyAsSecret, ...invalid },
    { case: 'that is not valid yet', token: () => signer.sign({ nbf: secondsFromNow(600) }), ...invalid },
    { case: 'issued in the future', token: () => signer.sign({ iat: secondsFromNow(600) }), ...invalid },
    { case: 'whose iat is not a number', token: () => signer.sign({ iat: 'today' }), ...invalid },
    { case: 'whose exp is not a number', token: () => signer.sign({ exp: 'never' }), ...invalid },
    { case: 'whose key id is a path', token: () => signer.sign({}, { kid: '../../../../dev/null' }), ...invalid },
    { case: 'whose key id is a query', token: () => signer.sign({}, { kid: "x' union select 'key" }), ...invalid },
    { case: 'with an embedded key', token: withOwnKey, ...invalid },
    { case: 'with the URL of its key', token: withOwnKeyUrl, ...invalid },
    {
      case: 'with an unknown critical header',
      token: () => unsigned({ alg: 'RS256', kid: signer.kid, crit: ['extra'], extra: true }, 'AAAA'),
      ...invalid,
    },
    {
      case: 'with an algorithm that does not match the key',
      token: () => unsigned({ alg: 'RS384', kid: signer.kid }, 'AAAA'),
      ...invalid,
    },
    { case: 'without exp', token: () => signer.sign({ exp: undefined }), ...invalid },
    { case: 'without sub', token: () => signer.sign({ sub: undefined }), ...invalid },
    { case: 'with an empty sub', token: () => signer.sign({ sub: '' }), ...invalid },
    { case: 'whose sub is not a string', token: () => signer.sign({ sub: 42 }), ...invalid },
    { case: 'without tenant_id', token: () => signer.sign({ tenant_id: undefined }), ...invalid },
    { case: 'with an empty tenant_id', token: () => signer.sign({ tenant_id: '' }), ...invalid },
    { case: 'whose tenant_id is not a string', token: () => signer.sign({ tenant_id: { $ne: 1 } }), ...invalid },
    {
      case: 'whose permissions are not a list',
      token: () => signer.sign({ permissions: 'notif.read.log' }),
      ...invalid,
    },
    { case: 'whose permissions are not strings', token: () => signer.sign({ permissions: [1] }), ...invalid },
    { case: 'of one tenant when X-Tenant-ID names another', token: () => signer.sign(), tenant: 'other', ...mismatch },
    {
      case: 'of a superadmin without tenant who sends no X-Tenant-ID',
      token: () => signer.sign({ role: 'superadmin', tenant_id: undefined }),
      ...mismatch,
    },
  ];

  it.each(refusals)('$case is refused over HTTP and WebSocket', async (refusal) => {
    const token = await refusal.token();
    const { status, headers, data, errors } = await overHttp(service, token, refusal.tenant);
    expect({ status, data }).toEqual({ status: refusal.http, data: undefined });
    expect(errors).toMatchObject([{ extensions: { error_code: refusal.code, code: expect.any(String) } }]);
    expect(errors[0]?.extensions?.['trace_id']).toBe(headers.get('x-trace-id'));
    expect(headers.get('x-trace-id')).toMatch(/^[\w.:-]+$/);

    const { acknowledged, code, reason } = await overSocket(service, token, refusal.tenant);
    expect({ acknowledged, code, reason }).toEqual({ acknowledged: false, code: refusal.socket, reason: refusal.code });
  });

  it.each([
    { case: 'of a user', claims: {} },
    { case: 'of a user who sends X-Tenant-ID of their own tenant', claims: {}, tenant: TENANT },
    { case: 'without permissions', claims: { permissions: undefined } },
    { case: 'for several audiences', claims: { aud: ['billing', AUDIENCE] } },
    { case: 'of a superadmin who sends any X-Tenant-ID', claims: { role: 'superadmin' }, tenant: 'any' },
    {
      case: 'of a superadmin without tenant who sends X-Tenant-ID',
      claims: { role: 'superadmin', tenant_id: undefined },
      tenant: 'any',
    },
  ])('$case is accepted over HTTP and WebSocket', async ({ claims, tenant }) => {
    const token = await signer.sign(claims);
    expect(await overHttp(service, token, tenant)).toMatchObject({ status: 200, errors: [] });
    expect(await overSocket(service, token, tenant)).toMatchObject({ acknowledged: true });
  });

  it('of a superadmin gives access only to the tenant in X-Tenant-ID', async () => {
    for (const tenant of ['north', 'south']) {
      const producer = await signer.sign({ tenant_id: tenant, permissions: ['notif.ingest'] });
      await postEvent(service, producer, 'notification.triggered.v1', welcomeEvent(tenant, { event_code: tenant }));
    }
    const token = await signer.sign({ role: 'superadmin' });
    const { data } = await run(service.url, token, DeliveryLogsDocument, {}, { 'x-tenant-id': 'south' });
    expect(data?.notificationLogs.edges.map(({ node }) => node.eventCode)).toEqual(['south']);
  });

  it('is refused with another scheme than Bearer', async () => {
    const authorization = `Basic ${Buffer.from('anna:secret').toString('base64')}`;
    const { status, errors } = await run(service.url, undefined, UnreadCountDocument, {}, { authorization });
    expect(status).toBe(400);
    expect(errors).toMatchObject([{ extensions: { error_code: 'invalid_token' } }]);
  });

  it.each([
    ['token', (token: string) => ({ token })],
    ['token with its scheme', (token: string) => ({ token: `Bearer ${token}` })],
    ['authorization', (token: string) => ({ Authorization: `Bearer ${token}` })],
    ['headers.authorization', (token: string) => ({ headers: { authorization: `bearer ${token}` } })],
  ])('is read from connection_init as %s', async (_place, payload) => {
    const { acknowledged, socket } = await connectionOutcome(service.url, payload(await signer.sign()));
    expect(acknowledged).toBe(true);
    socket.close();
  });

  it('is read from the Authorization header of the upgrade request, as gateways forward it', async () => {
    const socket = new NodeWebSocket(`${service.url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws', {
      headers: { authorization: `Bearer ${await signer.sign()}` },
    });
    await once(socket, 'open');
    socket.send(JSON.stringify({ type: 'connection_init' }));
    const [answer] = (await once(socket, 'message')) as [Buffer];
    expect(JSON.parse(answer.toString())).toMatchObject({ type: 'connection_ack' });
    socket.terminate();
  });

  it('does not change the trace id that the caller has sent', async () => {
    const { headers, errors } = await run(service.url, undefined, UnreadCountDocument, {}, { 'x-trace-id': 'mine-1' });
    expect(headers.get('x-trace-id')).toBe('mine-1');
    expect(errors[0]?.extensions?.['trace_id']).toBe('mine-1');
  });

  it('closes its socket when it expires, and a client that reconnects with a new one misses nothing', async () => {
    const producer = await signer.sign({ permissions: ['notif.ingest'] });
    const send = (title: string) =>
      postEvent(service, producer, 'signal.activity-notification', activityEvent(TENANT, ['brief'], { title }));
    let tokens = 0;
    const inbox = resumingInbox({
      url: () => service.url,
      token: () => signer.sign({ sub: 'brief', exp: secondsFromNow((tokens += 1) === 1 ? 2 : 3_600) }),
    });
    const sent: string[] = [];
    await eventually(() => inbox.connections >= 1, 'the first connection');
    // Notifications before the start of the subscription are not delivered. The first one that arrives marks its start.
    await eventually(async () => {
      if (sent.length === 0) await send('begin');
      return inbox.seen.length > 0;
    }, 'the first notification');
    await eventually(async () => {
      sent.push(`n-${sent.length}`);
      await send(sent.at(-1) as string);
      return inbox.connections > 1;
    }, 'the second connection');
    await eventually(() => sent.every((title) => inbox.seen.includes(title)), 'every notification');
    expect(inbox.closeCodes).toEqual([4403]);
    const written = await sql<{ title: string }>(
      service.databaseUrl,
      `select title from notification where user_id = 'brief' and title <> 'begin' order by created_seq`,
    );
    expect(inbox.seen.filter((title) => title !== 'begin')).toEqual(written.map(({ title }) => title));
    await inbox.close();
  });

  it('is verified with keys that are fetched once during a flood of unknown key ids', async () => {
    await query(service.url, await signer.sign(), UnreadCountDocument);
    const before = jwks.fetches;
    const flood = await Promise.all(
      Array.from({ length: 50 }, async (_unused, index) =>
        overHttp(service, await signer.sign({}, { kid: `unknown-${index}` })),
      ),
    );
    expect(new Set(flood.map(({ status }) => status))).toEqual(new Set([401]));
    expect(jwks.fetches - before).toBeLessThanOrEqual(1);
  });

  it('cannot be verified before the keys could be fetched: the caller gets identity_unavailable', async () => {
    const gone = await startJwksServer(signer);
    await gone.close();
    const other = await service.startAnother({ JWKS_URL: gone.url });
    const token = await signer.sign();
    const { status, errors } = await overHttp(other, token);
    expect(status).toBe(503);
    expect(errors).toMatchObject([{ extensions: { error_code: 'identity_unavailable' } }]);
    expect(await overSocket(other, token)).toMatchObject({ acknowledged: false, code: 4500 });
  });

  it('is still accepted during an outage of the identity service after its keys were fetched', async () => {
    const mortal = await startJwksServer(signer);
    const other = await service.startAnother({ JWKS_URL: mortal.url });
    expect(await overHttp(other, await signer.sign())).toMatchObject({ status: 200 });
    await mortal.close();
    expect(await overHttp(other, await signer.sign())).toMatchObject({ status: 200 });
    expect(await overSocket(other, await signer.sign())).toMatchObject({ acknowledged: true });
  });
});
