import type { CleanupStack } from '../cleanup.ts';
import type { Config } from '../config.ts';
import type { Log } from '../log.ts';
import { startEmbeddedDatabase } from './embedded.ts';

/** The configured database; without `DATABASE_URL` the embedded one, which `parts` stops. */
export async function findDatabase(
  { databaseUrl, databaseOwnerUrl = databaseUrl, dataPath }: Config,
  { log, ephemeral }: { log: Log; ephemeral: boolean },
  parts: CleanupStack,
): Promise<{ databaseUrl: string; databaseOwnerUrl: string }> {
  if (databaseUrl !== undefined && databaseOwnerUrl !== undefined) return { databaseUrl, databaseOwnerUrl };
  const server = await startEmbeddedDatabase({ dataPath, ephemeral, log });
  parts.defer(() => server.stop());
  return { databaseUrl: server.url, databaseOwnerUrl: server.ownerUrl };
}
