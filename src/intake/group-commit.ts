import { isDatabaseUnavailable } from '../database/errors.ts';
import { AppError } from '../errors.ts';

/** Writes the items of concurrent requests in shared transactions. */
export interface GroupCommit<Item, Result> {
  /**
   * Writes the items of one request. A request that finds no running transaction is written at once; later requests wait
   * until that transaction ends and share the next one.
   *
   * @param tenantId tenant of the items. Tenants take turns, so that one with many requests does not delay the others.
   * @returns one result per item, in the same order, after the commit.
   * @throws `unavailable` when too many items wait or the wait is too long, and then nothing was written; otherwise the
   *   error of the write.
   */
  add(tenantId: string, items: Item[]): Promise<Result[]>;
  /** Resolves when every added request is written or refused. */
  drain(): Promise<void>;
}

export interface GroupCommitOptions<Item, Result> {
  /** Writes items in one transaction. Returns one result per item, in the same order. */
  write: (items: Item[]) => Promise<Result[]>;
  /** Writes the items of one request, also when some of them are invalid. */
  writeRequest: (items: Item[]) => Promise<Result[]>;
  /** Maximum number of waiting items. A tenant may have half of them. */
  maxWaiting?: number;
  /** Time after which a waiting request is refused, in milliseconds. As long as the wait for a connection. */
  maxWaitMs?: number;
}

interface Request<Item, Result> {
  items: Item[];
  addedAt: number;
  resolve: (results: Result[]) => void;
  reject: (error: unknown) => void;
}

/** Maximum number of items in a transaction that several requests share. Bounds its duration. */
const MAX_GROUP = 500;
/** Number of waiting items that start another transaction beside a running one. Fewer items are cheaper together. */
const PARALLEL_FROM = 100;
/** Maximum number of concurrent transactions. Leaves most connections of the pool to other work. */
const MAX_TRANSACTIONS = 4;
/** Time between two checks of the waiting requests, in milliseconds. Longer than most transactions take. */
const CHECK_MS = 25;

export function createGroupCommit<Item, Result>({
  write,
  writeRequest,
  maxWaiting = 10_000,
  maxWaitMs = 10_000,
}: GroupCommitOptions<Item, Result>): GroupCommit<Item, Result> {
  type Waiting = Request<Item, Result>;
  /** The first tenant has the next turn. A tenant without waiting requests is not listed. */
  const tenants = new Map<string, { requests: Waiting[]; items: number }>();
  let waitingItems = 0;
  let running = 0;
  let scheduled: NodeJS.Immediate | undefined;
  let timer: NodeJS.Timeout | undefined;
  let onIdle: (() => void)[] = [];

  /** Removes the first request of a tenant, and moves the tenant to the end of the turns. */
  const remove = (tenantId: string): Waiting => {
    const tenant = tenants.get(tenantId) as { requests: Waiting[]; items: number };
    const request = tenant.requests.shift() as Waiting;
    tenant.items -= request.items.length;
    waitingItems -= request.items.length;
    tenants.delete(tenantId);
    if (tenant.requests.length > 0) tenants.set(tenantId, tenant);
    return request;
  };

  /** Returns the requests of the next transaction: one per tenant in turn, at least one. */
  const nextGroup = (): Waiting[] => {
    const group: Waiting[] = [];
    let items = 0;
    for (;;) {
      const [first] = tenants;
      if (first === undefined) return group;
      const [tenantId, { requests }] = first;
      items += (requests[0] as Waiting).items.length;
      if (group.length > 0 && items > MAX_GROUP) return group;
      group.push(remove(tenantId));
    }
  };

  /** Writes requests together. An error that is not an outage may be caused by one request, so it divides the group. */
  const writeTogether = async (group: Waiting[]): Promise<void> => {
    const items = group.flatMap((request) => request.items);
    try {
      const results = await (group.length === 1 ? writeRequest(items) : write(items));
      let from = 0;
      for (const request of group) request.resolve(results.slice(from, (from += request.items.length)));
    } catch (error) {
      if (group.length === 1 || isDatabaseUnavailable(error)) {
        for (const request of group) request.reject(error);
        return;
      }
      const middle = Math.ceil(group.length / 2);
      await writeTogether(group.slice(0, middle));
      await writeTogether(group.slice(middle));
    }
  };

  const run = async (): Promise<void> => {
    running += 1;
    await writeTogether(nextGroup());
    running -= 1;
    schedule();
  };

  /** Starts transactions at the end of this turn of the event loop, so that requests that arrive in it share one. */
  const schedule = (): void => {
    scheduled ??= setImmediate(start);
  };

  /** Starts transactions for waiting requests. */
  const start = (): void => {
    scheduled = undefined;
    while (tenants.size > 0 && (running === 0 || (waitingItems >= PARALLEL_FROM && running < MAX_TRANSACTIONS))) {
      void run();
    }
    if (tenants.size > 0) timer ??= setTimeout(check, CHECK_MS);
    else if (running === 0) {
      for (const resolve of onIdle) resolve();
      onIdle = [];
    }
  };

  /** Keeps a slow transaction, e.g. one that waits for a lock, from delaying the requests that came after it. */
  const check = (): void => {
    timer = undefined;
    const expiredAt = performance.now() - maxWaitMs;
    for (const [tenantId, { requests }] of tenants) {
      while ((requests[0]?.addedAt ?? Number.POSITIVE_INFINITY) < expiredAt) remove(tenantId).reject(tooBusy());
    }
    if (tenants.size > 0 && running < MAX_TRANSACTIONS) void run();
    schedule();
  };

  return {
    add: async (tenantId, items) => {
      const tenant = tenants.get(tenantId) ?? { requests: [], items: 0 };
      // A request larger than the limit is accepted when nothing waits.
      const isFull = (waiting: number, limit: number): boolean => waiting > 0 && waiting + items.length > limit;
      if (isFull(waitingItems, maxWaiting) || isFull(tenant.items, maxWaiting / 2)) throw tooBusy();
      return new Promise((resolve, reject) => {
        tenant.requests.push({ items, addedAt: performance.now(), resolve, reject });
        tenant.items += items.length;
        waitingItems += items.length;
        tenants.set(tenantId, tenant);
        schedule();
      });
    },
    drain: () =>
      new Promise((resolve) => {
        onIdle.push(resolve);
        schedule();
      }),
  };
}

const tooBusy = (): AppError =>
  new AppError('unavailable', 'Too many events wait to be stored. Send them again later.');
