import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { run } from '../../support/client.ts';
import { sql } from '../../support/sql.ts';
import { startTenantService, type TenantService, type TestTenant } from '../../support/tenant.ts';

const NUL = 'a\u0000b';
const HALF = 'a\ud800b';

describe('text that the database cannot store', () => {
  let service: TenantService;
  let tenant: TestTenant;
  let token: string;
  beforeAll(async () => {
    service = await startTenantService();
    tenant = await service.newTenant({}, ['email']);
    const permissions = ['notif.write.config', 'notif.write.template', 'notif.read.template', 'person.erase'];
    token = await tenant.token(permissions);
  });
  afterAll(() => service.close());

  const codes = async (document: string, variables: Record<string, unknown>) => {
    const { errors, status } = await run(service.url, token, document as never, variables);
    return { status, codes: errors.map(({ extensions }) => extensions?.['error_code']) };
  };
  const refused = { status: 400, codes: ['validation_failed'] };

  it.each([
    ['a filter', 'query ($value: String!) { policyDefinitions(userId: $value) { edges { cursor } } }'],
    [
      'a category',
      'mutation ($value: String!) { suppressAddress(input: {channel: EMAIL, address: "a@b.example", category: $value}) { id } }',
    ],
    [
      'a policy definition',
      `mutation ($value: String!) {
         importPolicyDefinitions(input: {definitions: [{userId: $value, role: "r", scope: MERCHANT, scopeId: "m"}]}) { added }
       }`,
    ],
    [
      'a key of a configuration',
      'mutation ($value: String!) { removeChannelConfig(input: {channel: EMAIL, provider: $value}) }',
    ],
  ])('is invalid in %s, with U+0000 and with half a surrogate pair', async (_where, document) => {
    for (const value of [NUL, HALF]) expect(await codes(document, { value })).toEqual(refused);
  });

  it('is invalid in an object and in a literal', async () => {
    const settings =
      'mutation ($input: UpdateTenantSettingsInput!) { updateTenantSettings(input: $input) { timeZone } }';
    expect(await codes(settings, { input: { categories: { news: { name: HALF } } } })).toEqual(refused);
    const literal = '{ policyDefinitions(userId: "a\\u0000b") { edges { cursor } } }';
    expect(await codes(literal, {})).toEqual(refused);
  });

  it('is invalid in a claim of a token', async () => {
    const claimed = await service.token({ tenant_id: tenant.id, sub: NUL, permissions: [] });
    const { status, errors } = await run(service.url, claimed, '{ unreadNotificationCount }' as never, {});
    expect({ status, code: errors[0]?.extensions?.['error_code'] }).toEqual({ status: 401, code: 'invalid_token' });
  });

  it('is not needed to make a value too long or a category invalid', async () => {
    const document =
      'mutation ($value: String!) { suppressAddress(input: {channel: EMAIL, address: "a@b.example", category: $value}) { id } }';
    for (const value of ['x'.repeat(8_000), 'two words', '\\'])
      expect(await codes(document, { value })).toEqual(refused);
  });

  it('does not arise from a long diff of a template with emoji', async () => {
    const create =
      'mutation ($input: CreateNotificationTemplateInput!) { createNotificationTemplate(input: $input) { id } }';
    const bodies = [
      'a' + '😀'.repeat(16_383),
      Array.from({ length: 300 }, (_unused, line) => `<p>Xin chào ${line} 🎉🎉 quý khách 🎁</p>`).join('\n'),
    ];
    for (const [index, body] of bodies.entries()) {
      const input = { eventCode: `emoji.${index}`, channel: 'EMAIL', locale: 'vi', subject: 's', body };
      expect(await codes(create, { input })).toEqual({ status: 200, codes: [] });
    }
  });

  it('does not make a category of a name that every object has', async () => {
    const document = `mutation ($category: String!) {
      updateNotificationPreference(input: {category: $category, channel: EMAIL, isEnabled: false}) { category }
    }`;
    for (const category of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
      expect(await codes(document, { category })).toEqual(refused);
    }
  });

  it('and 20 requests at the same time keep the limit of configurations and the audit exact', async () => {
    const save = `mutation ($name: String!) {
      updateChannelConfig(input: {channel: EMAIL, provider: "smtp", name: $name,
        config: {host: "127.0.0.1", port: 25, from: "a@b.example"}}) { name }
    }`;
    await Promise.all(Array.from({ length: 20 }, (_unused, index) => codes(save, { name: `relay-${index}` })));
    const rows = await sql(service.databaseUrl, 'select 1 from channel_config where tenant_id = $1', [tenant.id]);
    expect(rows).toHaveLength(10);

    const suppress = 'mutation { suppressAddress(input: {channel: EMAIL, address: "once@b.example"}) { id } }';
    const { data } = await run(service.url, token, suppress as never, {});
    const { id } = (data as unknown as { suppressAddress: { id: string } }).suppressAddress;
    const remove = 'mutation ($id: ID!) { unsuppressAddress(id: $id) { id } }';
    const removed = await Promise.all(Array.from({ length: 20 }, () => codes(remove, { id })));
    expect(removed.filter(({ status }) => status === 200)).toHaveLength(1);
    const audits = await sql(
      service.databaseUrl,
      `select 1 from audit_event where tenant_id = $1 and details->'unsuppressed'->>'id' = $2`,
      [tenant.id, id],
    );
    expect(audits).toHaveLength(1);
  });
});
