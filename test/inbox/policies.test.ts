import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  ImportPolicyDefinitionsDocument,
  PolicyDefinitionsDocument,
  RemovePolicyDefinitionsDocument,
} from '../generated/operations.ts';
import { settled } from '../support/graph-seed.ts';
import { query, run } from '../support/client.ts';
import { activityEvent, postEvent, startTestService, type TestService } from '../support/service.ts';
import { sql } from '../support/sql.ts';

const TENANT = 'tenant-policies';

describe('policy definitions', () => {
  let service: TestService;
  let admin: string;
  let producer: string;

  beforeAll(async () => {
    service = await startTestService();
    admin = await service.token({ tenant_id: TENANT, sub: 'admin', permissions: ['notif.write.config'] });
    producer = await service.token({ tenant_id: TENANT, permissions: ['notif.ingest'] });
  });
  afterAll(() => service.close());

  const over = (scopeId: string, ...userIds: string[]) =>
    userIds.map((userId) => ({ userId, role: 'cashier', scope: 'MERCHANT' as const, scopeId }));
  const take = async (definitions: ReturnType<typeof over>, isWhole = false) =>
    (await query(service.url, admin, ImportPolicyDefinitionsDocument, { input: { definitions, isWhole } }))
      .importPolicyDefinitions;
  const holders = async (scopeId: string): Promise<string[]> => {
    const variables = { first: 100, scope: 'MERCHANT' as const, scopeId };
    const { policyDefinitions } = await query(service.url, admin, PolicyDefinitionsDocument, variables);
    return policyDefinitions.edges.map(({ node }) => node.userId).toSorted();
  };

  it('are imported without duplicates, replaced by an import with isWhole, and removed', async () => {
    expect(await take(over('m-1', 'anna', 'bình', 'anna'))).toEqual({ added: 2, removed: 0, unchanged: 0 });
    expect(await take(over('m-2', 'dũng'))).toEqual({ added: 1, removed: 0, unchanged: 0 });
    expect(await take(over('m-1', 'bình', 'chi'))).toEqual({ added: 1, removed: 0, unchanged: 1 });
    expect(await holders('m-1')).toEqual(['anna', 'bình', 'chi']);
    expect(await take(over('m-1', 'chi', 'em'), true)).toEqual({ added: 1, removed: 2, unchanged: 1 });
    expect(await holders('m-1')).toEqual(['chi', 'em']);
    expect(await holders('m-2')).toEqual(['dũng']);
    const definitions = over('m-1', 'em', 'nobody');
    const removed = await query(service.url, admin, RemovePolicyDefinitionsDocument, { definitions });
    expect(removed).toEqual({ removePolicyDefinitions: 1 });
    expect(await holders('m-1')).toEqual(['chi']);
  });

  it('write an audit event with the user and the numbers of an import', async () => {
    await take(over('m-audit', 'anna'));
    const rows = await sql(
      service.databaseUrl,
      `select action, actor_id, details from audit_event where tenant_id = $1 order by id desc limit 1`,
      [TENANT],
    );
    expect(rows).toEqual([
      {
        action: 'notification.config.updated',
        actor_id: 'admin',
        details: { policy_definitions: { added: 1, removed: 0 } },
      },
    ]);
  });

  it('are not imported at all when one is invalid, and the error contains the path of each invalid one', async () => {
    const definitions = [...over('m-3', 'anna', ' '), ...over('x'.repeat(257), 'anna')];
    const { status, errors } = await run(service.url, admin, ImportPolicyDefinitionsDocument, {
      input: { definitions },
    });
    expect(status).toBe(400);
    expect(errors).toMatchObject([
      {
        extensions: {
          error_code: 'validation_failed',
          fields: [{ path: 'input.definitions.1.userId' }, { path: 'input.definitions.2.scopeId' }],
        },
      },
    ]);
    expect(await holders('m-3')).toEqual([]);
  });

  it('of another tenant are not changed by an import', async () => {
    await take(over('m-shared', 'anna'));
    const other = await service.token({ tenant_id: 'tenant-other', permissions: ['notif.write.config'] });
    const input = { definitions: over('m-shared', 'foreigner'), isWhole: true };
    const { importPolicyDefinitions } = await query(service.url, other, ImportPolicyDefinitionsDocument, { input });
    expect(importPolicyDefinitions).toEqual({ added: 1, removed: 0, unchanged: 0 });
    expect(await holders('m-shared')).toEqual(['anna']);
  });

  it('can be read only with the permission notif.write.config', async () => {
    const { status, errors } = await run(service.url, producer, PolicyDefinitionsDocument, {});
    expect(status).toBe(403);
    expect(errors).toMatchObject([{ extensions: { required: 'notif.write.config' } }]);
  });

  it('address 10 000 users with one event, and each receives one notification', async () => {
    const people = Array.from({ length: 10_000 }, (_unused, index) => `person-${index}`);
    expect(await take(over('m-large', ...people))).toEqual({ added: 10_000, removed: 0, unchanged: 0 });
    const event = activityEvent(TENANT, [], { recipient_scope: 'merchant', merchant_id: 'm-large' });
    const { body } = await postEvent(service, producer, 'signal.activity-notification', event);
    await settled(service.databaseUrl, [body.results[0]?.log_id as string]);
    const [row] = await sql(
      service.databaseUrl,
      `select (select count(*)::int from notification where tenant_id = $1 and user_id like 'person-%') as told,
         (select count(*)::int from inbox where tenant_id = $1 and unread_count = 1 and last_seq = 1) as inboxes`,
      [TENANT],
    );
    expect(row).toEqual({ told: 10_000, inboxes: 10_000 });
  });
});
