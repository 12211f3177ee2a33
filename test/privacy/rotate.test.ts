import { randomBytes } from 'node:crypto';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { DeliveryLogDocument, UpdateChannelConfigDocument } from '../generated/operations.ts';
import { postWelcomes, settled } from '../support/graph-seed.ts';
import { outputOf, spawnScript } from '../support/child.ts';
import { query } from '../support/client.ts';
import { startTestService, type TestService, WELCOME_TEMPLATE } from '../support/service.ts';
import { sql } from '../support/sql.ts';

const TENANT = 'tenant-rotate';

describe('a replaced key', () => {
  const [oldKey, newKey] = ['old', 'new'].map((id) => `${id}:${randomBytes(32).toString('base64')}`) as [
    string,
    string,
  ];
  let service: TestService;
  beforeAll(async () => {
    service = await startTestService({ DATA_KEYS: oldKey });
  });
  afterAll(() => service.close());

  const rotate = (keys: string) =>
    outputOf(
      spawnScript('src/main.js', { DATABASE_URL: service.env['DATABASE_URL'] as string, DATA_KEYS: keys }, [
        'keys:rotate',
      ]),
    );
  const keysInUse = async (): Promise<string[]> => {
    const rows = await sql<{ text: string }>(
      service.databaseUrl,
      'select config::text as text from channel_config union all select recipient::text from notification_log',
    );
    return rows.flatMap(({ text }) => [...text.matchAll(/"key": "(\w+)"/g)].map((match) => match[1] as string));
  };

  it('is no longer needed after keys:rotate has encrypted its data with the new key', async () => {
    const admin = await service.token({
      tenant_id: TENANT,
      permissions: [
        'notif.write.config',
        'notif.ingest',
        'notif.read.log',
        'notif.read.template',
        'notif.read.recipient',
      ],
    });
    const config = { host: 'smtp.example.com', port: 587, from: 'a@example.com', password: 'typed in' };
    await query(service.url, admin, UpdateChannelConfigDocument, {
      input: { channel: 'EMAIL', provider: 'smtp', config },
    });
    await service.core.settings.save(TENANT, { privacy: { recipients: 'encrypted' } }, { userId: null });
    await service.core.templates.publish(TENANT, [WELCOME_TEMPLATE], null);
    const ids = await postWelcomes(service, admin, TENANT, [{}, {}, {}]);
    await settled(service.databaseUrl, ids);
    expect(await keysInUse()).toEqual(['old', 'old', 'old', 'old']);

    expect(await rotate(newKey)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('the key old is missing'),
    });
    // The run stops at a record that cannot be decrypted. Completed work remains, and the next run continues.
    const nameKey = (key: string) =>
      sql(
        service.databaseUrl,
        `update notification_log set recipient = jsonb_set(recipient, '{sealed,key}', to_jsonb($2::text)) where id = $1`,
        [ids[2], key],
      );
    await nameKey('gone');
    expect(await rotate(`${newKey},${oldKey}`)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('the key gone is missing'),
    });
    expect((await keysInUse()).toSorted()).toEqual(['gone', 'new', 'old', 'old']);
    await nameKey('old');
    expect(await rotate(`${newKey},${oldKey}`)).toMatchObject({
      code: 0,
      stdout: 'Encrypted 0 channels and 3 delivery records with the new key.\n',
    });
    expect(await keysInUse()).toEqual(['new', 'new', 'new', 'new']);
    expect((await rotate(newKey)).stdout).toBe('Encrypted 0 channels and 0 delivery records with the new key.\n');

    const after = await service.startAnother({ DATA_KEYS: newKey });
    const { notificationLog } = await query(after.url, admin, DeliveryLogDocument, { id: ids[0] as string });
    expect(notificationLog?.recipient).toBe('student@example.edu.vn');
  });
});
