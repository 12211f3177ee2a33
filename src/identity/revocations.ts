import type { Database } from '../database/database.ts';
import { newId } from '../ids.ts';
import { type Bus, topics } from '../live/bus.ts';
import type { Log } from '../log.ts';
import type { Actor } from './actor.ts';

/** Which tokens are not to be accepted any more. */
export interface Revocation {
  tenantId: string;
  /** Of this person alone; null: of everybody. */
  userId: string | null;
  /** This token alone (`jti`); null: every one that was issued before. */
  tokenId: string | null;
  revokedAt: Date;
}

export interface Revocations {
  isRevoked(actor: Actor): boolean;
  /** Durable when it resolves, and in force in every process soon after. */
  revoke(revocation: Revocation): Promise<void>;
  /** Calls back whenever more tokens are revoked. @returns a function that ends it. */
  onRevoked(listener: () => void): () => void;
  close(): void;
}

/** A token that is older has expired, whoever made it. Milliseconds. */
const LONGEST_TOKEN_MS = 31 * 24 * 3_600_000;
/** How often to look for what no wake-up told of. Milliseconds. */
const REFRESH_MS = 30_000;

/** Keeps the revocations of all tenants in memory: they are few, and every request and socket asks. */
export async function createRevocations(options: { database: Database; bus: Bus; log: Log }): Promise<Revocations> {
  const { database, bus, log } = options;
  let byTenant = new Map<string, Revocation[]>();
  const listeners = new Set<() => void>();

  const load = async (): Promise<void> => {
    const rows = await database.asWorker((tx) =>
      tx.query<Revocation>(
        `select tenant_id as "tenantId", user_id as "userId", token_id as "tokenId", revoked_at as "revokedAt"
         from token_revocation where forget_at > now()`,
      ),
    );
    byTenant = Map.groupBy(rows, (row) => row.tenantId);
    for (const listener of listeners) listener();
  };
  const refresh = (): void => {
    load().catch((error: unknown) => log.warn({ error }, 'revocations not read'));
  };

  const unsubscribe = bus.subscribe(topics.revocations, refresh, refresh);
  bus.onGap(refresh);
  const timer = setInterval(refresh, REFRESH_MS).unref();
  await load();

  return {
    isRevoked: (actor) => byTenant.get(actor.tenantId)?.some((revocation) => concerns(revocation, actor)) ?? false,
    revoke: async ({ tenantId, userId, tokenId, revokedAt }) => {
      const forgetAt = new Date(Math.max(revokedAt.getTime(), Date.now()) + LONGEST_TOKEN_MS);
      await database.asWorker((tx) =>
        tx.query(
          `with forgotten as (delete from token_revocation where forget_at <= now())
           insert into token_revocation (id, tenant_id, user_id, token_id, revoked_at, forget_at)
           values ($1, $2, $3, $4, $5, $6)`,
          [newId(), tenantId, userId, tokenId, revokedAt, forgetAt],
        ),
      );
      await load();
      bus.publish(topics.revocations, null);
    },
    onRevoked: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close: () => {
      clearInterval(timer);
      unsubscribe();
    },
  };
}

function concerns({ userId, tokenId, revokedAt }: Revocation, actor: Actor): boolean {
  if (userId !== null && userId !== actor.userId) return false;
  if (tokenId !== null) return tokenId === actor.tokenId;
  // A token that does not say when it was issued cannot prove that it came later.
  return actor.issuedAt === undefined || actor.issuedAt <= revokedAt;
}
