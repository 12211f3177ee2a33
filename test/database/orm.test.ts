import type { EntityManager } from '@mikro-orm/postgresql';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { type Database, openDatabase } from '../../src/database/database.ts';
import { PolicyDefinitionEntity } from '../../src/inbox/policy-definition.entity.ts';
import { newId } from '../../src/ids.ts';
import { createLog } from '../../src/log.ts';
import { ChannelConfigEntity } from '../../src/tenants/channel-config.entity.ts';
import { testDatabase } from '../support/service.ts';
import { sql } from '../support/sql.ts';
import type { TestDatabase } from '../support/template-database.ts';

const OWN = 'tenant-own';
const FOREIGN = 'tenant-foreign';

/** Each of these operations is known to bypass filters of the ORM. Row-level security must still hold. */
describe('the EntityManager of a tenant transaction', () => {
  let files: TestDatabase;
  let database: Database;
  let foreignId: string;
  beforeAll(async () => {
    files = await testDatabase();
    // One connection, so that anything left by a transaction would affect the next one.
    database = openDatabase({ url: files.loginUrl, log: createLog('silent'), poolSize: 1 });
  });
  afterAll(async () => {
    await database.close();
    await files.drop();
  });
  beforeEach(async () => {
    foreignId = newId();
    await sql(
      files.url,
      `truncate policy_definition; insert into policy_definition (id, tenant_id, user_id, role, scope, scope_id)
       values ('${newId()}', '${OWN}', 'own', 'owner', 'merchant', 'm'),
              ('${foreignId}', '${FOREIGN}', 'foreign', 'owner', 'merchant', 'm')`,
    );
  });

  const asTenant = <T>(work: (em: EntityManager) => Promise<T>): Promise<T> =>
    database.asTenant(OWN, ({ em }) => work(em));
  const foreignRows = () =>
    sql(files.url, `select id, user_id, role from policy_definition where tenant_id = '${FOREIGN}'`);
  const untouched = () => [{ id: foreignId, user_id: 'foreign', role: 'owner' }];

  it('finds no row of another tenant, with or without a condition on the tenant', async () => {
    const found = await asTenant((em) => em.find(PolicyDefinitionEntity, {}, { filters: false }));
    expect(found.map(({ tenantId }) => tenantId)).toEqual([OWN]);
    expect(await asTenant((em) => em.find(PolicyDefinitionEntity, { tenantId: FOREIGN }))).toEqual([]);
    expect(await asTenant((em) => em.findOne(PolicyDefinitionEntity, { id: foreignId }))).toBeNull();
    expect(await asTenant((em) => em.count(PolicyDefinitionEntity, {}))).toBe(1);
  });

  it('hides other tenants from the query builder and from raw SQL', async () => {
    const built = await asTenant((em) => em.createQueryBuilder(PolicyDefinitionEntity).select('*').execute());
    expect(built).toHaveLength(1);
    expect(await asTenant((em) => em.execute('select * from policy_definition'))).toHaveLength(1);
    const joined = 'select other.* from policy_definition mine join policy_definition other using (scope_id)';
    expect(await asTenant((em) => em.execute(joined))).toHaveLength(1);
    await asTenant((em) => em.createQueryBuilder(PolicyDefinitionEntity).update({ role: 'thief' }).execute());
    await asTenant((em) => em.execute(`delete from policy_definition`));
    expect(await foreignRows()).toEqual(untouched());
  });

  it('changes and removes nothing of another tenant through a reference to an unread row', async () => {
    const flushed = asTenant(async (em) => {
      em.getReference(PolicyDefinitionEntity, foreignId).role = 'thief';
      await em.flush();
    });
    await flushed.catch(() => {});
    const removed = asTenant(async (em) => {
      em.remove(em.getReference(PolicyDefinitionEntity, foreignId));
      await em.flush();
    });
    await removed.catch(() => {});
    expect(await foreignRows()).toEqual(untouched());
  });

  it('starts with an empty identity map, although the connection served another tenant before', async () => {
    const foreign = await database.asTenant(FOREIGN, ({ em }) =>
      em.findOneOrFail(PolicyDefinitionEntity, { id: foreignId }),
    );
    expect(foreign.userId).toBe('foreign');
    await asTenant(async (em) => {
      expect(em.getUnitOfWork().getIdentityMap().keys()).toEqual([]);
      expect(await em.findOne(PolicyDefinitionEntity, { id: foreignId })).toBeNull();
    });
  });

  it('does not write an entity of another tenant that it is given', async () => {
    const foreign = await database.asTenant(FOREIGN, ({ em }) =>
      em.findOneOrFail(PolicyDefinitionEntity, { id: foreignId }),
    );
    const changed = asTenant(async (em) => {
      const merged = em.merge(PolicyDefinitionEntity, { ...foreign });
      merged.role = 'thief';
      await em.flush();
      return em.refresh(merged);
    });
    expect(await changed.catch(() => null)).toBeNull();
    expect(await foreignRows()).toEqual(untouched());
  });

  it('refuses an upsert over the key of another tenant', async () => {
    const row = { id: foreignId, userId: 'thief', role: 'owner', scope: 'merchant' as const, scopeId: 'm' };
    for (const tenantId of [OWN, FOREIGN]) {
      await expect(asTenant((em) => em.upsert(PolicyDefinitionEntity, { ...row, tenantId }))).rejects.toThrow(
        /row-level security|permission denied/,
      );
    }
    expect(await foreignRows()).toEqual(untouched());
  });

  it('refuses to move a row to another tenant and to create one there', async () => {
    const moved = asTenant(async (em) => {
      const [own] = await em.find(PolicyDefinitionEntity, {});
      if (own) own.tenantId = FOREIGN;
      await em.flush();
    });
    await expect(moved).rejects.toThrow(/row-level security|permission denied/);
    const made = asTenant(async (em) => {
      const values = { userId: 'thief', role: 'owner', scope: 'merchant', scopeId: 'm' } as const;
      em.create(PolicyDefinitionEntity, { id: newId(), tenantId: FOREIGN, ...values }, { persist: true });
    });
    await expect(made).rejects.toThrow(/row-level security/);
    expect(await foreignRows()).toEqual(untouched());
  });

  it('runs no statement after its transaction has ended', async () => {
    const { em, own } = await asTenant(async (manager) => ({
      em: manager,
      own: await manager.findOneOrFail(PolicyDefinitionEntity, { tenantId: OWN }),
    }));
    await expect(em.find(PolicyDefinitionEntity, {})).rejects.toThrow(/only inside asTenant or asWorker/);
    own.role = 'late';
    await expect(em.flush()).rejects.toThrow(/only inside asTenant or asWorker/);
    expect(await sql(files.url, `select role from policy_definition where tenant_id = '${OWN}'`)).toEqual([
      { role: 'owner' },
    ]);
  });

  it('flushes before the commit, and writes nothing when the work fails', async () => {
    const values = { userId: 'new', role: 'owner', scope: 'merchant', scopeId: 'm' } as const;
    const create = (em: EntityManager) =>
      em.create(PolicyDefinitionEntity, { id: newId(), tenantId: OWN, ...values }, { persist: true });
    const failed = asTenant(async (em) => {
      create(em);
      await em.flush();
      throw new Error('rolled back');
    });
    await expect(failed).rejects.toThrow('rolled back');
    expect(await asTenant((em) => em.count(PolicyDefinitionEntity, { userId: 'new' }))).toBe(0);
    await asTenant(async (em) => create(em));
    expect(await asTenant((em) => em.count(PolicyDefinitionEntity, { userId: 'new' }))).toBe(1);
  });

  it('returns each of two concurrent tenants only its own rows', async () => {
    const shared = openDatabase({ url: files.loginUrl, log: createLog('silent'), poolSize: 2 });
    try {
      const tenants = Array.from({ length: 100 }, (_unused, index) => (index % 2 === 0 ? OWN : FOREIGN));
      const seen = await Promise.all(
        tenants.map((tenantId) => shared.asTenant(tenantId, ({ em }) => em.find(PolicyDefinitionEntity, {}))),
      );
      expect(seen.map((rows) => rows.map((row) => row.tenantId))).toEqual(tenants.map((tenantId) => [tenantId]));
    } finally {
      await shared.close();
    }
  });

  it('answers `conflict` when another transaction changed the entity meanwhile', async () => {
    const id = newId();
    await sql(
      files.url,
      `insert into channel_config (id, tenant_id, channel, provider) values ('${id}', '${OWN}', 'email', 'smtp')`,
    );
    const late = asTenant(async (em) => {
      const config = await em.findOneOrFail(ChannelConfigEntity, { id });
      await sql(files.url, `update channel_config set version = version + 1 where id = '${id}'`);
      config.position = 3;
      await em.flush();
    });
    await expect(late).rejects.toMatchObject({ code: 'conflict' });
  });

  it('answers `validation_failed` for text with U+0000, which MikroORM writes into the statement', async () => {
    const hostile = asTenant((em) => em.find(PolicyDefinitionEntity, { userId: "a\0'; drop table inbox; --" }));
    await expect(hostile).rejects.toMatchObject({ code: 'validation_failed' });
    const quoted = `'; drop table inbox; -- \\' $1 ? "`;
    await asTenant(async (em) => {
      const [own] = await em.find(PolicyDefinitionEntity, {});
      if (own) own.userId = quoted;
    });
    expect(await asTenant((em) => em.find(PolicyDefinitionEntity, { userId: quoted }))).toHaveLength(1);
  });
});
