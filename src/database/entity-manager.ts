import { type EntityManager, MikroORM } from '@mikro-orm/postgresql';
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryResult,
} from 'kysely';
import type pg from 'pg';

import { entities } from './entities.ts';
import { nulCharacter } from './errors.ts';

export interface EntityManagers {
  /**
   * Returns a new EntityManager, with an empty identity map, whose statements run on `client`: in the transaction that
   * is open there, and so under its role and its tenant. It runs no statement after `hasEnded` returns true, because the
   * client may then serve another tenant.
   */
  on(client: Pick<pg.PoolClient, 'query'>, hasEnded: () => boolean): EntityManager;
}

/**
 * Reads the entities once and makes EntityManagers of them. None of these opens a connection: the pools and the scope of
 * a transaction stay those of `database.ts`, and an EntityManager that has no transaction cannot run a statement.
 */
export function createEntityManagers(): EntityManagers {
  const orm = new MikroORM({
    entities,
    dbName: 'given by the transaction',
    ensureDatabase: false,
    driverOptions: dialectOver(refuse),
  });
  return {
    on: (client, hasEnded) => {
      const em = orm.em.fork({ clear: true });
      const connection = connectionOver(client);
      em.setTransactionContext(
        new Kysely({ dialect: dialectOver(() => (hasEnded() ? refuse() : Promise.resolve(connection))) }),
      );
      return em;
    },
  };
}

function refuse(): Promise<DatabaseConnection> {
  return Promise.reject(new Error('An EntityManager runs statements only inside asTenant or asWorker.'));
}

/** PostgreSQL's dialect of Kysely, which is what MikroORM runs on, over connections that somebody else manages. */
function dialectOver(acquireConnection: Driver['acquireConnection']): Dialect {
  const nothing = async (): Promise<void> => {};
  return {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => ({
      init: nothing,
      acquireConnection,
      beginTransaction: nothing,
      commitTransaction: nothing,
      rollbackTransaction: nothing,
      releaseConnection: nothing,
      destroy: nothing,
    }),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  };
}

const connectionOver = (client: Pick<pg.PoolClient, 'query'>): DatabaseConnection => ({
  executeQuery: async <Row>({ sql, parameters }: CompiledQuery): Promise<QueryResult<Row>> => {
    // MikroORM writes values into the statement, and the protocol ends a statement at this character.
    if (sql.includes('\0')) throw nulCharacter();
    const { rows, rowCount } = await client.query({ text: sql, values: [...parameters] });
    return { rows, numAffectedRows: BigInt(rowCount ?? 0) };
  },
  streamQuery: () => {
    throw new Error('Streams are not supported inside a transaction.');
  },
});
