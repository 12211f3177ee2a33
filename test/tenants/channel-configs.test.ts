import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';

import type { Service } from '../../src/service.ts';
import {
  AuditTrailDocument,
  ChannelProvidersDocument,
  ChannelsDocument,
  RemoveChannelConfigDocument,
  UpdateChannelConfigDocument,
} from '../generated/operations.ts';
import { postWelcomes, settled } from '../support/graph-seed.ts';
import { query, run } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type HttpPeer, startHttpPeer } from '../support/http-peer.ts';
import { startTestService, type TestService, WELCOME_TEMPLATE } from '../support/service.ts';
import { type SmtpSink, startSmtpSink } from '../support/smtp-sink.ts';
import { sql } from '../support/sql.ts';

const TENANT = 'tenant-channels';
const PASSWORD = 'a-typed-in-password';

describe('channel configuration', () => {
  let service: TestService;
  let keyless: Service;
  let relays: SmtpSink[];
  let gateway: HttpPeer;
  let secrets: string;
  let admin: string;
  beforeAll(async () => {
    secrets = await mkdtemp(join(tmpdir(), 'notification-channels-'));
    await writeFile(join(secrets, 'operators-own'), 'of-nobody-else\n');
    for (const [tenantId, secret] of [
      [TENANT, 'kept-by-an-operator'],
      ['tenant-next-door', 'of-the-neighbours'],
    ] as const) {
      await mkdir(join(secrets, tenantId));
      await writeFile(join(secrets, tenantId, 'sms-token'), `${secret}\n`);
    }
    gateway = await startHttpPeer();
    relays = [await startSmtpSink(), await startSmtpSink()];
    service = await startTestService({
      DELIVERY_MODE: 'live',
      REDIS_URL: inject('redisUrl'),
      OUTBOUND_ALLOW: '127.0.0.1',
      SECRETS_PATH: secrets,
      DATA_KEYS: `one:${randomBytes(32).toString('base64')}`,
      SMTP_PROVIDER_SECRET: 'smtp://operator:operators-password@127.0.0.1:9?from=no-reply@vas.example',
    });
    // Another process, which does not deliver and has no keys.
    keyless = await service.startAnother({ ROLES: 'api', DATA_KEYS: '' });
    admin = await service.token({
      tenant_id: TENANT,
      sub: 'admin',
      permissions: ['notif.write.config', 'notif.read.audit', 'notif.ingest'],
    });
    const text = { ...WELCOME_TEMPLATE, channel: 'sms' as const, subject: null };
    await service.core.templates.publish(TENANT, [WELCOME_TEMPLATE, text], null);
  });
  afterAll(async () => {
    await service.close();
    await Promise.all([...relays, gateway].map((peer) => peer.close()));
    await rm(secrets, { recursive: true });
  });

  const smtp = (changes: object = {}) => ({
    host: '127.0.0.1',
    port: relays[0]?.port,
    user: 'tenant',
    password: PASSWORD,
    tls: 'none',
    from: 'shop@tenant.example',
    ...changes,
  });
  const update = (config: object, changes: object = {}, to: Pick<Service, 'url'> = service) =>
    run(to.url, admin, UpdateChannelConfigDocument, {
      input: { channel: 'EMAIL', provider: 'smtp', config: config as Record<string, unknown>, ...changes },
    });
  const remove = (changes: object = {}) =>
    run(service.url, admin, RemoveChannelConfigDocument, {
      input: { channel: 'EMAIL', provider: 'smtp', ...changes },
    });
  const stored = async (channel = 'email') =>
    (
      await sql<{ config: Record<string, unknown> }>(
        service.databaseUrl,
        'select config from channel_config where channel = $1',
        [channel],
      )
    )[0]?.config;
  const newest = async () => {
    const { auditEvents } = await query(service.url, admin, AuditTrailDocument, {
      first: 1,
      filter: { actions: ['notification.config.updated'] },
    });
    return auditEvents.edges[0]?.node.details;
  };
  const channels = async () => (await query(service.url, admin, ChannelsDocument)).channelConfigs;

  it('comes from the environment by default, without its secrets', async () => {
    expect(await channels()).toMatchObject([
      {
        channel: 'EMAIL',
        provider: 'smtp',
        origin: 'ENVIRONMENT',
        version: null,
        config: { url: '***' },
        sources: [{ path: 'url', origin: 'ENVIRONMENT' }],
      },
    ]);
  });

  it('set by an admin takes effect immediately in every process', async () => {
    const { data, errors } = await update(smtp());
    expect(errors).toEqual([]);
    expect(data?.updateChannelConfig).toMatchObject({
      name: 'smtp',
      config: { host: '127.0.0.1', user: 'tenant', password: '***', from: 'shop@tenant.example' },
    });
    const [first] = await postWelcomes(service, admin, TENANT, [{ recipient: 'first@example.com' }]);
    await settled(service.databaseUrl, [first as string]);
    expect(relays[0]?.mails.map(({ envelope }) => envelope.to)).toEqual([['first@example.com']]);

    // The secret is left out, so it keeps its value in the process that can decrypt it.
    const moved = await update(smtp({ port: relays[1]?.port, password: undefined }), {}, keyless);
    expect(moved).toMatchObject({ status: 503, errors: [{ extensions: { error_code: 'unavailable' } }] });
    expect((await update(smtp({ port: relays[1]?.port, password: undefined }))).errors).toEqual([]);
    await eventually(async () => {
      const ids = await postWelcomes(service, admin, TENANT, [{ recipient: 'second@example.com' }]);
      await settled(service.databaseUrl, ids);
      return (relays[1]?.mails.length ?? 0) > 0;
    }, 'a mail through the other relay');
  });

  it('stores secrets encrypted and does not show them', async () => {
    await update(smtp());
    expect(await stored()).toMatchObject({
      host: '127.0.0.1',
      password: { $sealed: { key: 'one', nonce: expect.any(String), data: expect.any(String) } },
    });
    const details = await newest();
    expect(details).toMatchObject({
      channel: 'email',
      provider: 'smtp',
      old: { config: { password: '***' } },
      new: { config: { password: '***', host: '127.0.0.1' } },
    });
    expect(JSON.stringify([details, await channels()])).not.toContain(PASSWORD);
  });

  it('may refer to a secret of the operator', async () => {
    expect((await update(smtp({ password: 'secret://relay' }), {}, keyless)).errors).toEqual([]);
    expect(await stored()).toMatchObject({ password: 'secret://relay' });
  });

  it('stores no secret in plain text when there is no key', async () => {
    const { status, errors } = await update(smtp(), {}, keyless);
    expect(status).toBe(400);
    expect(errors).toMatchObject([
      {
        extensions: {
          error_code: 'validation_failed',
          fields: [{ path: 'input.config.password', message: expect.stringContaining('DATA_KEYS') }],
        },
      },
    ]);
    expect(JSON.stringify(errors)).not.toContain(PASSWORD);
  });

  it('removes a secret that is set to null', async () => {
    await update(smtp());
    expect((await update(smtp({ password: null }))).data?.updateChannelConfig.config).not.toHaveProperty('password');
    expect(await stored()).not.toHaveProperty('password');
  });

  it('keeps a secret whose mask is sent back', async () => {
    const { data } = await update(smtp({ port: relays[0]?.port }));
    const { config: shown, version } = data?.updateChannelConfig ?? {};
    const before = await stored();
    expect((await update({ ...shown })).data?.updateChannelConfig).toMatchObject({ config: shown, version });
    expect((await update({ ...shown, user: 'renamed' })).errors).toEqual([]);
    const after = await stored();
    expect(after).toMatchObject({ user: 'renamed', password: { $sealed: { key: 'one' } } });
    expect(after?.['password']).toEqual(before?.['password']);

    // An object that is secret as a whole has one mask.
    const sms = { channel: 'SMS', provider: 'http' } as const;
    const first = await update({ url: gateway.url, headers: { 'x-key': PASSWORD } }, sms);
    expect((await update({ ...first.data?.updateChannelConfig.config, from: 'shop' }, sms)).errors).toEqual([]);
    const ids = await postWelcomes(service, admin, TENANT, [{ channel: 'sms', recipient: '+84900000001' }]);
    await settled(service.databaseUrl, ids);
    expect(gateway.requests.at(-1)?.headers).toMatchObject({ 'x-key': PASSWORD });
    await remove(sms);
  });

  it('refuses the mask of a secret that is not stored, and names the field', async () => {
    await remove();
    const dkim = { domainName: 'tenant.example', keySelector: 'one', privateKey: '***' };
    const message = 'must be entered, because no value is stored that *** could stand for';
    expect(await update(smtp({ password: '***', dkim }))).toMatchObject({
      status: 400,
      errors: [
        {
          extensions: {
            error_code: 'validation_failed',
            fields: [
              { path: 'input.config.password', message },
              { path: 'input.config.dkim.privateKey', message },
            ],
          },
        },
      ],
    });
    expect(await stored()).toBeUndefined();
  });

  it('accepts a list of secrets and references', async () => {
    const sms = { channel: 'SMS', provider: 'http' } as const;
    const named = { authorization: 'secret://sms-token' };
    // References are not secret: they need no key and are shown.
    const first = await update({ url: gateway.url, headers: named }, sms, keyless);
    expect(first.data?.updateChannelConfig.config).toEqual({ url: gateway.url, headers: named });
    expect(await stored('sms')).toEqual({ url: gateway.url, headers: named });

    await update({ url: gateway.url, headers: { ...named, 'x-key': PASSWORD } }, sms);
    expect(await stored('sms')).toMatchObject({ headers: { $sealed: { key: 'one' } } });
    const ids = await postWelcomes(service, admin, TENANT, [{ channel: 'sms', recipient: '+84900000001' }]);
    await settled(service.databaseUrl, ids);
    expect(gateway.requests.at(-1)?.headers).toMatchObject({
      authorization: 'kept-by-an-operator',
      'x-key': PASSWORD,
    });
    await remove(sms);
  });

  it.each([
    'secret://operators-own',
    'secret://tenant-next-door/sms-token',
    'secret://../tenant-next-door/sms-token',
    'secret://..',
    'secret://../operators-own',
  ])("can refer only to the tenant's own secrets: %s is not resolved", async (reference) => {
    // A separate name for each, because a circuit breaker opens after repeated failures.
    const name = `case-${reference.length}`;
    const sms = { channel: 'SMS', provider: 'http', name } as const;
    const before = gateway.requests.length;
    for (const headers of [{ authorization: reference }, { authorization: reference, 'x-key': PASSWORD }]) {
      await update({ url: gateway.url, headers }, sms);
      const ids = await postWelcomes(service, admin, TENANT, [{ channel: 'sms', recipient: '+84900000001' }]);
      await settled(service.databaseUrl, ids);
      const [row] = await sql(
        service.databaseUrl,
        'select status, error_code, error_message from notification_log where id = $1',
        ids,
      );
      expect(row).toMatchObject({ status: 'failed', error_code: 'channel_misconfigured' });
      expect(JSON.stringify(row)).not.toMatch(/of-nobody-else|of-the-neighbours/);
    }
    expect(gateway.requests.length).toBe(before);
    await remove(sms);
  });

  it('does not send a secret to a new address unless it is entered again', async () => {
    await update(smtp());
    const moved = { host: 'smtp.elsewhere.example' };
    for (const password of [undefined, '***']) {
      const { status, errors } = await update(smtp({ ...moved, password }));
      expect(status).toBe(400);
      expect(errors).toMatchObject([{ extensions: { fields: [{ path: 'input.config.password' }] } }]);
    }
    expect((await update(smtp(moved))).errors).toEqual([]);
    expect((await update(smtp({ password: null }))).errors).toEqual([]);
  });

  it('accepts the JSON key file of a service account', async () => {
    const fcm = { channel: 'PUSH', provider: 'fcm' } as const;
    const serviceAccount = JSON.stringify({ project_id: 'shop-1', private_key: PASSWORD });
    const { data, errors } = await update({ serviceAccount }, fcm);
    expect(errors).toEqual([]);
    expect(data?.updateChannelConfig.config).toEqual({ serviceAccount: '***' });
    expect(JSON.stringify(await stored('push'))).not.toContain(PASSWORD);
    expect((await update({ serviceAccount: 'no account' }, { ...fcm, name: 'other' })).errors).toMatchObject([
      {
        extensions: {
          fields: expect.arrayContaining([expect.objectContaining({ path: 'input.config.serviceAccount' })]),
        },
      },
    ]);
    await remove(fcm);
  });

  it('is refused with `conflict` when another request has changed it meanwhile', async () => {
    await remove();
    const conflict = (version: number) => ({
      status: 409,
      errors: [{ extensions: { error_code: 'conflict', version } }],
    });
    expect(await update(smtp(), { expectedVersion: 1 })).toMatchObject(conflict(0));
    expect((await update(smtp(), { expectedVersion: 0 })).data?.updateChannelConfig.version).toBe(1);
    expect((await update(smtp({ user: 'b' }), { expectedVersion: 1 })).data?.updateChannelConfig.version).toBe(2);
    expect(await update(smtp({ user: 'c' }), { expectedVersion: 1 })).toMatchObject(conflict(2));
    expect(await remove({ expectedVersion: 1 })).toMatchObject(conflict(2));
    // An unchanged configuration is not a change.
    expect((await update(smtp({ user: 'b' }))).data?.updateChannelConfig.version).toBe(2);

    await remove();
    const outcomes = await Promise.all(['x', 'y', 'z'].map((user) => update(smtp({ user }), { expectedVersion: 0 })));
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual([200, 409, 409]);
  });

  it('can be addressed by the name that is shown', async () => {
    await update(smtp(), { concurrency: 3, burst: 7 });
    const [shown] = await channels();
    await update(smtp(), { name: shown?.name, concurrency: 3, burst: 7, position: 2 });
    expect(await channels()).toMatchObject([
      { name: 'smtp', origin: 'DATABASE', position: 2, concurrency: 3, burst: 7 },
    ]);
  });

  it('stays visible when disabled, and is removed with its secrets', async () => {
    await update(smtp(), { isEnabled: false });
    expect(await channels()).toMatchObject([
      { origin: 'ENVIRONMENT', isEnabled: true, config: { url: '***' } },
      { origin: 'DATABASE', isEnabled: false, name: 'smtp', config: { password: '***' } },
    ]);
    expect((await remove()).data).toEqual({ removeChannelConfig: true });
    expect(await channels()).toMatchObject([{ origin: 'ENVIRONMENT' }]);
    expect(await stored()).toBeUndefined();
    expect(await newest()).toMatchObject({
      channel: 'email',
      provider: 'smtp',
      old: { isEnabled: false, config: { password: '***' } },
      new: null,
    });
    expect(await remove()).toMatchObject({ status: 404, errors: [{ extensions: { error_code: 'not_found' } }] });
  });

  it('has at most ten entries per channel', async () => {
    const names = Array.from({ length: 10 }, (_, index) => `relay-${index}`);
    for (const name of names) expect((await update(smtp(), { name })).errors).toEqual([]);
    expect(await update(smtp(), { name: 'relay-10' })).toMatchObject({
      status: 400,
      errors: [{ extensions: { fields: [{ path: 'input.channel' }] } }],
    });
    for (const name of names) await remove({ name });
  });

  it.each([
    ['a missing setting', { host: undefined }, {}, 'input.config.host'],
    ['a setting of the wrong type', { port: 'many' }, {}, 'input.config.port'],
    ['an unknown setting', { hots: 'x' }, {}, 'input.config.hots'],
    [
      'an unknown nested setting',
      { dkim: { domainName: 'a.example', keySelector: 'k' } },
      {},
      'input.config.dkim.privateKey',
    ],
    ['a relay as one URL', { url: 'smtp://x' }, {}, 'input.config.url'],
    ['a secret in a visible setting', { from: 'secret://relay' }, {}, 'input.config.from'],
    [
      'the stored form of a secret',
      { user: { $sealed: { key: 'one', nonce: '', data: '' } } },
      {},
      'input.config.user',
    ],
    ['an unknown provider', {}, { provider: 'pigeon' }, 'input.provider'],
    ['a channel without providers', {}, { channel: 'IN_APP' }, 'input.provider'],
    ['an invalid position', {}, { position: -1 }, 'input.position'],
    ['an invalid rate', {}, { ratePerSecond: 0 }, 'input.ratePerSecond'],
    ['an invalid burst', {}, { burst: 0 }, 'input.burst'],
    ['an invalid name', {}, { name: 'a b' }, 'input.name'],
  ])('is refused with %s, and the error contains the field', async (_what, config, changes, path) => {
    const { status, errors } = await update(JSON.parse(JSON.stringify(smtp(config))) as object, changes);
    expect(status).toBe(400);
    expect(errors).toMatchObject([{ extensions: { error_code: 'validation_failed', fields: [{ path }] } }]);
    expect(JSON.stringify(errors)).not.toContain(PASSWORD);
  });

  it('has a schema for each provider that marks secrets', async () => {
    const { channelProviders } = await query(service.url, admin, ChannelProvidersDocument);
    expect(channelProviders.map(({ channel, provider }) => `${channel} ${provider}`)).toEqual(
      expect.arrayContaining(['EMAIL smtp', 'SMS twilio', 'PUSH fcm', 'WEBHOOK webhook']),
    );
    const relay = channelProviders.find(({ provider }) => provider === 'smtp')?.configSchema as {
      properties: Record<string, object>;
    };
    expect(relay.properties['password']).toMatchObject({ writeOnly: true });
    for (const { provider, configSchema } of channelProviders) {
      for (const [name, field] of Object.entries((configSchema as typeof relay).properties)) {
        expect(field, `${provider} ${name}`).toHaveProperty('description');
      }
    }
  });
});
