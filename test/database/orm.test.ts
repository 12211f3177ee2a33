import { type EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { entities } from '../../src/database/entities.ts';
import { PolicyDefinitionEntity } from '../../src/inbox/policy-definition.entity.ts';
import { newId } from '../../src/ids.ts';
import { testDatabase } from '../support/service.ts';
import { sql } from '../support/sql.ts';
import type { TestDatabase } from '../support/template-database.ts';

const OWN = 'tenant-own';
const FOREIGN = 'tenant-foreign';

/**
 * The ORM's filters are a convenience: each of these ways is known to pass by them. None passes by the database, since
 * the wall is there and the login owns nothing.
 */
describe('no way of the ORM leads to another tenant', () => {
  let database: TestDatabase;
  let orm: MikroORM;
  let foreignId: string;
  beforeAll(async () => {
    database = await testDatabase();
    orm = await MikroORM.init({ clientUrl: database.loginUrl, entities });
  });
  afterAll(async () => {
    await orm.close();
    await database.drop();
  });
  beforeEach(async () => {
    foreignId = newId();
    await sql(
      database.url,
      `truncate policy_definition; insert into policy_definition (id, tenant_id, user_id, role, scope, scope_id)
       values ('${newId()}', '${OWN}', 'own', 'owner', 'merchant', 'm'),
              ('${foreignId}', '${FOREIGN}', 'foreign', 'owner', 'merchant', 'm')`,
    );
  });

  const scope = (em: EntityManager, tenantId: string): Promise<unknown> =>
    em.execute(`select set_config('role', 'notif_api', true), set_config('app.tenant_id', ?, true)`, [tenantId]);
  const asTenant = <T>(work: (em: EntityManager) => Promise<T>, em = orm.em.fork()): Promise<T> =>
    em.transactional(async (tx) => {
      await scope(tx as EntityManager, OWN);
      return work(tx as EntityManager);
    });
  const foreignRows = () =>
    sql(database.url, `select id, user_id, role from policy_definition where tenant_id = '${FOREIGN}'`);
  const untouched = () => [{ id: foreignId, user_id: 'foreign', role: 'owner' }];

  it('by find, with or without a condition on the tenant', async () => {
    const found = await asTenant((em) => em.find(PolicyDefinitionEntity, {}, { filters: false }));
    expect(found.map(({ tenantId }) => tenantId)).toEqual([OWN]);
    expect(await asTenant((em) => em.find(PolicyDefinitionEntity, { tenantId: FOREIGN }))).toEqual([]);
    expect(await asTenant((em) => em.findOne(PolicyDefinitionEntity, { id: foreignId }))).toBeNull();
    expect(await asTenant((em) => em.count(PolicyDefinitionEntity, {}))).toBe(1);
  });

  it('by the query builder and by raw SQL', async () => {
    const built = await asTenant((em) => em.createQueryBuilder(PolicyDefinitionEntity).select('*').execute());
    expect(built).toHaveLength(1);
    expect(await asTenant((em) => em.execute('select * from policy_definition'))).toHaveLength(1);
    const joined = 'select other.* from policy_definition mine join policy_definition other using (scope_id)';
    expect(await asTenant((em) => em.execute(joined))).toHaveLength(1);
    await asTenant((em) => em.createQueryBuilder(PolicyDefinitionEntity).update({ role: 'thief' }).execute());
    await asTenant((em) => em.execute(`delete from policy_definition`));
    expect(await foreignRows()).toEqual(untouched());
  });

  it('by a reference to a row that it never read', async () => {
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

  it('by what its identity map still holds of another tenant', async () => {
    const em = orm.em.fork();
    await em.transactional(async (tx) => {
      await scope(tx as EntityManager, FOREIGN);
      expect(await tx.findOne(PolicyDefinitionEntity, { id: foreignId })).not.toBeNull();
    });
    const changed = asTenant(async (tx) => {
      const remembered = tx.getReference(PolicyDefinitionEntity, foreignId);
      remembered.role = 'thief';
      await tx.flush();
    }, em);
    await changed.catch(() => {});
    expect(await foreignRows()).toEqual(untouched());
    const refreshed = asTenant((tx) => tx.findOne(PolicyDefinitionEntity, { id: foreignId }, { refresh: true }), em);
    expect(await refreshed).toBeNull();
  });

  it('by an upsert over its key', async () => {
    const row = { id: foreignId, userId: 'thief', role: 'owner', scope: 'merchant' as const, scopeId: 'm' };
    for (const tenantId of [OWN, FOREIGN]) {
      await expect(asTenant((em) => em.upsert(PolicyDefinitionEntity, { ...row, tenantId }))).rejects.toThrow(
        /row-level security|permission denied/,
      );
    }
    expect(await foreignRows()).toEqual(untouched());
  });

  it('by giving a row of its own to another tenant, or making one there', async () => {
    const moved = asTenant(async (em) => {
      const [own] = await em.find(PolicyDefinitionEntity, {});
      if (own) own.tenantId = FOREIGN;
      await em.flush();
    });
    await expect(moved).rejects.toThrow(/row-level security|permission denied/);
    const made = asTenant(async (em) => {
      em.create(PolicyDefinitionEntity, {
        id: newId(),
        tenantId: FOREIGN,
        userId: 'thief',
        role: 'owner',
        scope: 'merchant',
        scopeId: 'm',
      });
      await em.flush();
    });
    await expect(made).rejects.toThrow(/row-level security/);
    expect(await foreignRows()).toEqual(untouched());
  });

  it('by forgetting to say whose it is', async () => {
    await expect(orm.em.fork().find(PolicyDefinitionEntity, {})).rejects.toThrow(/permission denied/);
    const unscoped = orm.em.fork().transactional(async (em) => {
      await em.execute(`select set_config('role', 'notif_api', true)`);
      return em.find(PolicyDefinitionEntity, {});
    });
    expect(await unscoped).toEqual([]);
  });
});
