import { randomBytes } from 'node:crypto';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { createKeyring, parseDataKeys } from '../../src/keyring.ts';
import { addressHash } from '../../src/preferences/suppressions.ts';
import type { PrivacyPolicy } from '../../src/privacy/policy.ts';
import { DeliveryLogDocument, RetryNotificationDocument } from '../generated/operations.ts';
import { postWelcomes, settled } from '../support/graph-seed.ts';
import { query, run } from '../support/client.ts';
import { startTestService, type TestService, WELCOME_TEMPLATE } from '../support/service.ts';
import { sql } from '../support/sql.ts';

const ADDRESS = 'student@example.edu.vn';
const MASKED = 's***@example.edu.vn';
const OLD_KEY = randomBytes(32).toString('base64');
const NEW_KEY = randomBytes(32).toString('base64');

describe('a settled delivery record', () => {
  let service: TestService;
  beforeAll(async () => {
    service = await startTestService({ DATA_KEYS: `new:${NEW_KEY},old:${OLD_KEY}` });
  });
  afterAll(() => service.close());

  interface Stored {
    recipient: Record<string, unknown>;
    params: object;
    is_reduced: boolean;
  }
  /** Creates a tenant with its own policy and one delivery. */
  const deliver = async (tenantId: string, privacy: PrivacyPolicy, change: object = {}) => {
    await service.core.settings.save(tenantId, { privacy }, { userId: 'admin' });
    await service.core.templates.publish(tenantId, [WELCOME_TEMPLATE], null);
    const producer = await service.token({ tenant_id: tenantId, permissions: ['notif.ingest'] });
    const [id] = (await postWelcomes(service, producer, tenantId, [{ recipient: ADDRESS, ...change }])) as [string];
    await settled(service.databaseUrl, [id]);
    const stored = async (): Promise<Stored> =>
      (
        await sql<Stored>(
          service.databaseUrl,
          'select recipient, params, is_reduced from notification_log where id = $1',
          [id],
        )
      )[0] as Stored;
    const shown = async (...permissions: string[]) => {
      const token = await service.token({
        tenant_id: tenantId,
        permissions: ['notif.read.log', 'notif.read.template', ...permissions],
      });
      const { notificationLog } = await query(service.url, token, DeliveryLogDocument, { id });
      return notificationLog?.recipient;
    };
    return { id, stored, shown };
  };
  const hash = (tenantId: string): string => addressHash(tenantId, 'email', ADDRESS);

  it('keeps everything by default and shows addresses to callers with notif.read.recipient', async () => {
    const { stored, shown } = await deliver('tenant-plain', {});
    expect(await stored()).toMatchObject({ recipient: { email: ADDRESS }, params: { full_name: 'Nguyễn Văn A' } });
    expect(await shown()).toBe(MASKED);
    expect(await shown('notif.read.recipient')).toBe(ADDRESS);
  });

  it('masks addresses when the tenant has configured it', async () => {
    const { stored, shown } = await deliver('tenant-masked', { recipients: 'masked' });
    expect((await stored()).recipient).toEqual({ email: MASKED });
    expect(await shown('notif.read.recipient')).toBe(MASKED);
  });

  it('hashes addresses when the tenant has configured it', async () => {
    const { stored, shown } = await deliver('tenant-hashed', { recipients: 'hashed' });
    expect((await stored()).recipient).toEqual({ email: `sha256:${hash('tenant-hashed')}` });
    expect(await shown()).not.toContain('@');
  });

  it('encrypts addresses when the tenant has configured it, and decrypts them for callers with notif.read.recipient', async () => {
    const { id, stored, shown } = await deliver('tenant-encrypted', { recipients: 'encrypted' });
    const { recipient } = await stored();
    expect(recipient).toEqual({
      sealed: { key: 'new', nonce: expect.any(String), data: expect.any(String) },
      hashes: [hash('tenant-encrypted')],
    });
    expect(await shown()).toBe(MASKED);
    expect(await shown('notif.read.recipient')).toBe(ADDRESS);

    const old = createKeyring(parseDataKeys(`old:${OLD_KEY}`));
    const seal = async (text: string, context: string): Promise<void> => {
      const sealed = old.seal(JSON.stringify({ email: text }), context);
      await sql(service.databaseUrl, `update notification_log set recipient = $2 where id = $1`, [id, { sealed }]);
    };
    await seal('before@example.com', 'tenant-encrypted');
    expect(await shown('notif.read.recipient')).toBe('before@example.com');
    await seal('moved@example.com', 'tenant-other');
    expect(await shown('notif.read.recipient')).toBeNull();
  });

  it('drops params when the tenant has configured it, and can then not be retried', async () => {
    const { id, stored } = await deliver('tenant-params', { params: 'until_end' }, { event_code: 'no.template' });
    expect(await stored()).toMatchObject({ params: {}, is_reduced: true });
    const token = await service.token({ tenant_id: 'tenant-params', permissions: ['notif.replay'] });
    const { status, errors } = await run(service.url, token, RetryNotificationDocument, { logId: id });
    expect(status).toBe(409);
    expect(errors).toMatchObject([{ extensions: { error_code: 'conflict' } }]);
  });
});

describe('a keyring', () => {
  it.each([
    ['an empty text', ''],
    ['a key without an id', OLD_KEY],
    ['a short key', `a:${randomBytes(16).toString('base64')}`],
    ['an empty part', `a:${OLD_KEY},`],
  ])('cannot be created from %s, and the error contains no key', (_what, text) => {
    expect(() => parseDataKeys(text)).toThrow(/must be id:key, comma separated, each key 32 bytes in base64$/);
  });

  it('does not decrypt data that was changed, moved, or encrypted with another key', () => {
    const keyring = createKeyring(parseDataKeys(`a:${OLD_KEY}`));
    const sealed = keyring.seal('text', 'here');
    expect(keyring.open(sealed, 'here')).toBe('text');
    expect(() => keyring.open(sealed, 'there')).toThrow(/was changed/);
    expect(() => keyring.open({ ...sealed, key: 'b' }, 'here')).toThrow(/is missing/);
    const data = Buffer.from(sealed.data, 'base64url');
    data[0] = (data[0] as number) ^ 1;
    expect(() => keyring.open({ ...sealed, data: data.toString('base64url') }, 'here')).toThrow(/was changed/);
    expect(() => createKeyring([]).seal('text', 'here')).toThrow(/no key/);
  });
});
