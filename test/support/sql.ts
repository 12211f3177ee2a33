import pg from 'pg';

/** A small pool for each database, because opening a connection takes longer than most queries. */
const pools = new Map<string, pg.Pool>();

function poolOf(databaseUrl: string): pg.Pool {
  const existing = pools.get(databaseUrl);
  if (existing) return existing;
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 4, idleTimeoutMillis: 1_000, allowExitOnIdle: true });
  // The database is dropped at the end of a suite while the pool is open.
  pool.on('error', () => {});
  pools.set(databaseUrl, pool);
  return pool;
}

/** Queries the test database as superuser, which bypasses row-level security. */
export async function sql<Row extends object>(
  databaseUrl: string,
  text: string,
  values: unknown[] = [],
): Promise<Row[]> {
  const { rows } = await poolOf(databaseUrl).query<Row>(text, values);
  return rows;
}
