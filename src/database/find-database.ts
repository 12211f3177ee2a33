import type { CleanupStack } from '../cleanup.ts';
import type { Config } from '../config.ts';
import type { Log } from '../log.ts';
import { startEmbeddedDatabase } from './embedded.ts';

/** Returns the configured database. Without `DATABASE_URL`, starts the embedded one, which `parts` stops. */
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
