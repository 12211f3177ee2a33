import type { Database } from '../database/database.ts';
import { newId } from '../ids.ts';
import { type Bus, topics } from '../live/bus.ts';
import type { Log } from '../log.ts';
import type { Actor } from './actor.ts';

/** Revokes one token, or all tokens of a user or tenant that were issued before. */
export interface Revocation {
  tenantId: string;
  /** Null for all users of the tenant. */
  userId: string | null;
  /** Claim `jti` of one token; null for every token that was issued before `revokedAt`. */
  tokenId: string | null;
  revokedAt: Date;
}

export interface Revocations {
  isRevoked(actor: Actor): boolean;
  /** Stores a revocation. It is durable when the promise resolves, and soon after in effect in every process. */
  revoke(revocation: Revocation): Promise<void>;
  /** Adds a listener that is called after new revocations. @returns a function that removes it. */
  onRevoked(listener: () => void): () => void;
  close(): void;
}

/** Maximum lifetime of a token, in milliseconds. After this time a revocation is deleted. */
const MAX_TOKEN_LIFETIME_MS = 31 * 24 * 3_600_000;
/** Interval of reads without a wake-up, in milliseconds. */
const REFRESH_MS = 30_000;

/** Each instance holds all revocations in memory and reads them as one list. */
const SELECT_REVOKED = `select tenant_id as "tenantId", user_id as "userId", token_id as "tokenId", revoked_at as "revokedAt"
  from token_revocation where forget_at > now()`;

/** Removes expired revocations in the same statement, so that the table stays small. */
const INSERT_REVOCATION = `with forgotten as (delete from token_revocation where forget_at <= now())
  insert into token_revocation (id, tenant_id, user_id, token_id, revoked_at, forget_at)
  values ($1, $2, $3, $4, $5, $6)`;

/** Keeps the revocations of all tenants in memory, because they are few and every request needs them. */
export async function createRevocations(options: { database: Database; bus: Bus; log: Log }): Promise<Revocations> {
  const { database, bus, log } = options;
  let byTenant = new Map<string, Revocation[]>();
  const listeners = new Set<() => void>();

  const load = async (): Promise<void> => {
    const rows = await database.asWorker((tx) => tx.query<Revocation>(SELECT_REVOKED));
    byTenant = Map.groupBy(rows, (row) => row.tenantId);
    for (const listener of listeners) listener();
  };
  const refresh = (): void => {
    load().catch((error: unknown) => log.warn({ error }, 'reading revoked tokens failed, trying again'));
  };

  const unsubscribe = bus.subscribe(topics.revocations, refresh, refresh);
  bus.onGap(refresh);
  const timer = setInterval(refresh, REFRESH_MS).unref();
  await load();

  return {
    isRevoked: (actor) => byTenant.get(actor.tenantId)?.some((revocation) => matches(revocation, actor)) ?? false,
    revoke: async ({ tenantId, userId, tokenId, revokedAt }) => {
      const forgetAt = new Date(Math.max(revokedAt.getTime(), Date.now()) + MAX_TOKEN_LIFETIME_MS);
      await database.asWorker((tx) =>
        tx.query(INSERT_REVOCATION, [newId(), tenantId, userId, tokenId, revokedAt, forgetAt]),
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

function matches({ userId, tokenId, revokedAt }: Revocation, actor: Actor): boolean {
  if (userId !== null && userId !== actor.userId) return false;
  if (tokenId !== null) return tokenId === actor.tokenId;
  // A token without `iat` counts as issued before the revocation.
  return actor.issuedAt === undefined || actor.issuedAt <= revokedAt;
}
