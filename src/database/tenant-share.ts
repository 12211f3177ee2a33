import { AppError } from '../errors.ts';

/** Admits the transactions of one tenant up to its share of the connections. */
export interface TenantShare {
  /** Runs `work` when a connection of the tenant's share is free. @throws `unavailable` when that takes too long. */
  run<T>(tenantId: string, work: () => Promise<T>): Promise<T>;
}

interface Turn {
  admit: () => void;
  refuse: (error: AppError) => void;
}

/** Time after which a waiting transaction is refused, in milliseconds. As long as the wait for a connection. */
const WAIT_MS = 10_000;
/** Maximum number of waiting transactions of one tenant. */
const MAX_WAITING = 1_000;

const tooBusy = (): AppError =>
  new AppError('unavailable', 'Too many requests of this tenant use the database at once. Try again later.');

/**
 * Keeps one tenant from using every connection, so that a tenant whose transactions wait for each other does not delay the
 * others. Waiting transactions of a tenant run in order of arrival.
 *
 * @param share maximum number of concurrent transactions of one tenant.
 */
export function createTenantShare(share: number): TenantShare {
  const tenants = new Map<string, { running: number; waiting: Set<Turn> }>();

  const enter = async (tenantId: string): Promise<void> => {
    const tenant = tenants.get(tenantId) ?? { running: 0, waiting: new Set() };
    tenants.set(tenantId, tenant);
    if (tenant.running < share) {
      tenant.running += 1;
      return;
    }
    if (tenant.waiting.size >= MAX_WAITING) throw tooBusy();
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((admit, refuse) => {
      const turn: Turn = { admit, refuse };
      tenant.waiting.add(turn);
      timer = setTimeout(() => {
        tenant.waiting.delete(turn);
        refuse(tooBusy());
      }, WAIT_MS);
    }).finally(() => clearTimeout(timer));
  };
  const leave = (tenantId: string): void => {
    const tenant = tenants.get(tenantId);
    if (!tenant) return;
    const [next] = tenant.waiting;
    if (next) {
      tenant.waiting.delete(next);
      next.admit();
      return;
    }
    tenant.running -= 1;
    if (tenant.running === 0) tenants.delete(tenantId);
  };

  return {
    run: async (tenantId, work) => {
      await enter(tenantId);
      try {
        return await work();
      } finally {
        leave(tenantId);
      }
    },
  };
}
