import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';

import type { Service } from '../../src/service.ts';
import {
  ChangePreferenceDocument,
  MyPreferencesDocument,
  TenantSettingsDocument,
  UpdateTenantSettingsDocument,
  type UpdateTenantSettingsInput,
} from '../generated/operations.ts';
import { query, run } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { startTestService, type TestService } from '../support/service.ts';

const TENANT = 'tenant-settings';

describe('tenantSettings', () => {
  let folder: string;
  let service: TestService;
  let other: Service;
  let admin: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'notification-settings-'));
    await writeFile(
      join(folder, `${TENANT}.yaml`),
      'timeZone: Asia/Ho_Chi_Minh\nretry: { maxAttempts: 3 }\ncategories: { account: { isMandatory: true }, offers: {} }\n',
    );
    service = await startTestService({ REDIS_URL: inject('redisUrl'), TENANT_CONFIG_SECRET_PATH: folder });
    other = await service.startAnother({ ROLES: 'api' });
    admin = await service.token({ tenant_id: TENANT, sub: 'admin', permissions: ['notif.write.config'] });
  });
  afterAll(async () => {
    await service.close();
    await rm(folder, { recursive: true });
  });

  const read = async (from: Pick<Service, 'url'> = service) =>
    (await query(from.url, admin, TenantSettingsDocument)).tenantSettings;
  const update = (input: UpdateTenantSettingsInput) => run(service.url, admin, UpdateTenantSettingsDocument, { input });

  it('returns the merged settings with the source of each', async () => {
    expect(await read()).toMatchObject({
      timeZone: 'Asia/Ho_Chi_Minh',
      retry: { maxAttempts: 3 },
      sources: {
        timeZone: 'file',
        'retry.maxAttempts': 'file',
        defaultLocale: 'environment',
        'categories.account': 'file',
      },
    });
    const { data } = await update({
      defaultLocale: 'vi',
      retry: { maxAttempts: 5 },
      categories: { news: { name: 'News' } },
    });
    expect(data?.updateTenantSettings).toMatchObject({
      defaultLocale: 'vi',
      categories: { account: { isMandatory: true }, news: { name: 'News' } },
      sources: { defaultLocale: 'database', 'retry.maxAttempts': 'database', 'categories.news': 'database' },
    });
    await eventually(async () => (await read(other)).defaultLocale === 'vi', 'the change in another process');
  });

  it('resets a setting to its default with null', async () => {
    await update({ timeZone: 'Europe/Paris', quietHours: { from: '22:00', to: '07:00' } });
    expect(await read()).toMatchObject({ timeZone: 'Europe/Paris', sources: { timeZone: 'database' } });
    await update({ timeZone: null, defaultLocale: null, retry: null });
    expect(await read()).toMatchObject({
      timeZone: 'Asia/Ho_Chi_Minh',
      retry: { maxAttempts: 3 },
      quietHours: { from: '22:00' },
      sources: { timeZone: 'file', defaultLocale: 'environment' },
    });
    await update({ quietHours: null });
    expect((await read()).quietHours).toBeNull();
  });

  it('defines the mandatory categories that users cannot disable', async () => {
    const person = await service.token({ tenant_id: TENANT, sub: 'anna' });
    const { notificationPreferences } = await query(service.url, person, MyPreferencesDocument);
    expect(notificationPreferences.filter(({ category }) => category === 'account')).toEqual(
      expect.arrayContaining([expect.objectContaining({ isMandatory: true, isEnabled: true })]),
    );
    const optOut = (category: string) =>
      run(service.url, person, ChangePreferenceDocument, { input: { category, channel: 'EMAIL', isEnabled: false } });
    expect((await optOut('account')).status).toBe(400);
    expect((await optOut('offers')).errors).toEqual([]);
    await update({ categories: { quiet: { defaultEnabled: false } } });
    const after = await query(service.url, person, MyPreferencesDocument);
    expect(after.notificationPreferences).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ category: 'quiet', isEnabled: false }),
        expect.objectContaining({ category: 'offers', channel: 'EMAIL', isEnabled: false }),
      ]),
    );
  });

  it.each([
    ['no changes', {}, 'input'],
    ['an invalid language', { defaultLocale: 'no language' }, 'input.defaultLocale'],
    ['an invalid time zone', { timeZone: 'Mars/Base' }, 'input.timeZone'],
    ['an invalid number', { retry: { maxAttempts: 0 } }, 'input.retry.maxAttempts'],
    ['an unknown key', { limits: { speed: 1 } }, 'input.limits.speed'],
    ['an invalid masking mode', { privacy: { recipients: 'secret' } }, 'input.privacy.recipients'],
  ])('refuses %s', async (_what, input, path) => {
    const { status, errors } = await update(input);
    expect(status).toBe(400);
    expect(errors).toMatchObject([{ extensions: { error_code: 'validation_failed', fields: [{ path }] } }]);
  });
});
