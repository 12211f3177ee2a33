import { randomBytes } from 'node:crypto';

import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';

import type { Service } from '../../src/main.ts';
import {
  AuditTrailDocument,
  ChannelProvidersDocument,
  ChannelsDocument,
  UpdateChannelConfigDocument,
} from '../generated/operations.ts';
import { postWelcomes, settled } from '../resolvers/seed.ts';
import { query, run } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { startTestService, type TestService, WELCOME_TEMPLATE } from '../support/service.ts';
import { type SmtpSink, startSmtpSink } from '../support/smtp-sink.ts';
import { sql } from '../support/sql.ts';

const TENANT = 'tenant-channels';
const PASSWORD = 'a-typed-in-password';

describe('how a tenant sends', () => {
  let service: TestService;
  let keyless: Service;
  let relays: SmtpSink[];
  let admin: string;
  beforeAll(async () => {
    relays = [await startSmtpSink(), await startSmtpSink()];
    service = await startTestService({
      DELIVERY_MODE: 'live',
      REDIS_URL: inject('redisUrl'),
      OUTBOUND_ALLOW: '127.0.0.1',
      DATA_KEYS: `one:${randomBytes(32).toString('base64')}`,
      SMTP_PROVIDER_SECRET: 'smtp://operator:operators-password@127.0.0.1:9?from=no-reply@vas.example',
    });
    // Another process, which delivers nothing and has no keys.
    keyless = await service.startAnother({ ROLES: 'api', DATA_KEYS: '' });
    admin = await service.token({
      tenant_id: TENANT,
      sub: 'admin',
      permissions: ['notif.write.config', 'notif.read.audit', 'notif.ingest'],
    });
    await service.core.templates.publish(TENANT, [WELCOME_TEMPLATE], null);
  });
  afterAll(async () => {
    await service.close();
    await Promise.all(relays.map((relay) => relay.close()));
  });

  const smtp = (changes: object = {}) => ({
    host: '127.0.0.1',
    port: relays[0]?.port,
    user: 'tenant',
    password: PASSWORD,
    from: 'shop@tenant.example',
    ...changes,
  });
  const update = (config: object, changes: object = {}, to: Pick<Service, 'url'> = service) =>
    run(to.url, admin, UpdateChannelConfigDocument, {
      input: { channel: 'email', provider: 'smtp', config: config as Record<string, unknown>, ...changes },
    });
  const stored = async () =>
    (await sql<{ config: Record<string, unknown> }>(service.databaseUrl, 'select config from channel_config'))[0]
      ?.config;
  const channels = async () => (await query(service.url, admin, ChannelsDocument)).channelConfigs;

  it('is what the environment says, secrets apart, as long as nobody says otherwise', async () => {
    expect(await channels()).toMatchObject([{ channel: 'email', provider: 'smtp', origin: 'environment' }]);
    const text = `{ channelConfigs { config sources { path origin } } }`;
    const { data } = await run<{ channelConfigs: unknown }, object>(service.url, admin, text, {});
    expect(data?.channelConfigs).toEqual([
      { config: { url: '***' }, sources: [{ path: 'url', origin: 'environment' }] },
    ]);
  });

  it('is set by an admin, and in force at once, in every process', async () => {
    const { data, errors } = await update(smtp());
    expect(errors).toEqual([]);
    expect(data?.updateChannelConfig).toMatchObject({
      name: 'smtp',
      config: { host: '127.0.0.1', user: 'tenant', password: '***', from: 'shop@tenant.example' },
    });
    const [first] = await postWelcomes(service, admin, TENANT, [{ recipient: 'first@example.com' }]);
    await settled(service.databaseUrl, [first as string]);
    expect(relays[0]?.mails.map(({ envelope }) => envelope.to)).toEqual([['first@example.com']]);

    // The secret is left out: it stays, where it can be read.
    const moved = await update(smtp({ port: relays[1]?.port, password: undefined }), {}, keyless);
    expect(moved).toMatchObject({ status: 503, errors: [{ extensions: { error_code: 'unavailable' } }] });
    expect((await update(smtp({ port: relays[1]?.port, password: undefined }))).errors).toEqual([]);
    await eventually(async () => {
      const ids = await postWelcomes(service, admin, TENANT, [{ recipient: 'second@example.com' }]);
      await settled(service.databaseUrl, ids);
      return (relays[1]?.mails.length ?? 0) > 0;
    }, 'a mail through the other relay');
  });

  it('holds secrets encrypted, and shows them to nobody', async () => {
    await update(smtp());
    expect(await stored()).toMatchObject({
      host: '127.0.0.1',
      password: { $sealed: { key: 'one', nonce: expect.any(String), data: expect.any(String) } },
    });
    const { auditEvents } = await query(service.url, admin, AuditTrailDocument, {
      first: 1,
      filter: { actions: ['notification.config.updated'] },
    });
    expect(auditEvents.edges[0]?.node.details).toMatchObject({
      channel: 'email',
      provider: 'smtp',
      old: { config: { password: '***' } },
      new: { config: { password: '***', host: '127.0.0.1' } },
    });
    expect(JSON.stringify([auditEvents, await channels()])).not.toContain(PASSWORD);
  });

  it('may name a secret that an operator keeps', async () => {
    expect((await update(smtp({ password: 'secret://relay' }), {}, keyless)).errors).toEqual([]);
    expect(await stored()).toMatchObject({ password: 'secret://relay' });
  });

  it('holds no secret in the clear where there is no key', async () => {
    const { status, errors } = await update(smtp(), {}, keyless);
    expect(status).toBe(400);
    expect(errors).toMatchObject([
      { extensions: { error_code: 'validation_failed', fields: [{ path: 'input.config' }] } },
    ]);
    expect(JSON.stringify(errors)).not.toContain(PASSWORD);
  });

  it.each([
    ['a setting that is missing', { host: undefined }, {}, 'input.config.host'],
    ['a setting of another kind', { port: 'many' }, {}, 'input.config.port'],
    ['a setting that there is not', { hots: 'x' }, {}, 'input.config.hots'],
    [
      'a setting within another',
      { dkim: { domainName: 'a.example', keySelector: 'k' } },
      {},
      'input.config.dkim.privateKey',
    ],
    ['a whole relay as one URL', { url: 'smtp://x' }, {}, 'input.config.url'],
    ['a provider that there is not', {}, { provider: 'pigeon' }, 'input.provider'],
    ['a channel that needs none', {}, { channel: 'in_app' }, 'input.provider'],
    ['a place that is none', {}, { position: -1 }, 'input.position'],
    ['a limit that is none', {}, { ratePerSecond: 0 }, 'input.ratePerSecond'],
    ['a name that is none', {}, { name: 'a b' }, 'input.name'],
  ])('is refused with %s, by its name', async (_what, config, changes, path) => {
    const { status, errors } = await update(JSON.parse(JSON.stringify(smtp(config))) as object, changes);
    expect(status).toBe(400);
    expect(errors).toMatchObject([{ extensions: { error_code: 'validation_failed', fields: [{ path }] } }]);
    expect(JSON.stringify(errors)).not.toContain(PASSWORD);
  });

  it('is told by a schema for each provider, secrets marked', async () => {
    const { channelProviders } = await query(service.url, admin, ChannelProvidersDocument);
    expect(channelProviders.map(({ channel, provider }) => `${channel} ${provider}`)).toEqual(
      expect.arrayContaining(['email smtp', 'sms twilio', 'push fcm', 'webhook webhook']),
    );
    const relay = channelProviders.find(({ provider }) => provider === 'smtp')?.configSchema as {
      properties: Record<string, object>;
    };
    expect(relay.properties['password']).toMatchObject({ writeOnly: true });
  });
});
