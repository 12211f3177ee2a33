import type { Provider } from '../channels/channel.ts';
import type { Providers } from '../channels/registry.ts';
import type { Database } from '../database/database.ts';
import { type Bus, topics } from '../live/bus.ts';
import { openAttempts } from './attempts.ts';
import { claimDue, type ClaimedLog, renewLeases } from './claim.ts';
import { deliver } from './deliver.ts';
import type { Plan } from './plan.ts';
import { planBatch, type PlanBatchOptions } from './plan-batch.ts';
import { createRecorder } from './recorder.ts';
import { DEFAULT_RETRY, type RetryPolicy } from './retry.ts';
import type { Settled, Settlement } from './settle.ts';

export interface DispatcherOptions extends PlanBatchOptions {
  database: Database;
  bus: Bus;
  providers: Providers;
  /** Takes the place of every provider in sandbox mode. */
  sandbox: Pick<Provider, 'name' | 'send'>;
  retry?: RetryPolicy;
  /** Deliveries in hand at once. */
  concurrency?: number;
  /** How long a row is ours. A process that dies leaves its rows to the others after this time. Milliseconds. */
  leaseMs?: number;
  /** How often to look for due rows when nothing wakes us. Milliseconds. */
  pollMs?: number;
}

export interface Dispatcher {
  /** Stops claiming, finishes and records what is in hand. */
  close(): Promise<void>;
}

type SendPlan = Extract<Plan, { kind: 'send' }>;

/**
 * Works off the queue: claims due rows, plans them, hands them to providers and records the outcomes, in batches. Only
 * as many rows are claimed as can be worked on at once, and their leases are renewed until they are recorded.
 */
export function startDispatcher(options: DispatcherOptions): Dispatcher {
  const { database, bus, log, mode, retry = DEFAULT_RETRY } = options;
  const { concurrency = 200, leaseMs = 60_000, pollMs = 1_000 } = options;
  if (mode === 'hold') {
    log.info('delivery mode is hold: notifications stay queued');
    return { close: async () => {} };
  }

  /** What is in hand, and ours for as long as this process lives. */
  const held = new Set<ClaimedLog>();
  let isClosing = false;
  let wake = (): void => {};
  const working = new Set<Promise<void>>();
  const recorder = createRecorder({ database, log, onRecorded: (settled) => announce(bus, settled) });

  const work = async (claimed: ClaimedLog[]): Promise<void> => {
    const decided: Settlement[] = [];
    const sendable: { log: ClaimedLog; plan: SendPlan; provider: Pick<Provider, 'name' | 'send'> }[] = [];
    for (const { log: row, plan } of await planBatch(claimed, options)) {
      if (plan.kind !== 'send') {
        decided.push(settlementOf(row, plan));
        continue;
      }
      const provider =
        mode === 'sandbox' ? options.sandbox : options.providers.find(plan.channel, plan.provider.provider);
      if (provider) sendable.push({ log: row, plan, provider });
      else decided.push(unknownProvider(row, plan));
    }
    await openAttempts(
      database,
      sendable.map(({ log: row, plan, provider }) => ({ log: row, channel: plan.channel, provider: provider.name })),
    );
    const finish = async (settlement: Settlement): Promise<void> => {
      await recorder.record(settlement);
      held.delete(settlement.log);
      wake();
    };
    await Promise.all([
      ...decided.map(finish),
      ...sendable.map(async ({ log: row, plan, provider }) =>
        finish(await deliver(row, plan, provider, { retry, timeoutMs: leaseMs / 2 })),
      ),
    ]);
  };

  const claim = async (limit: number): Promise<ClaimedLog[]> => {
    try {
      return await claimDue(database, limit, leaseMs);
    } catch (error) {
      log.error({ error }, 'cannot claim due notifications');
      return [];
    }
  };

  const claimLoop = async (): Promise<void> => {
    while (!isClosing) {
      const woken = new Promise<void>((resolve) => (wake = resolve));
      const free = recorder.isBehind ? 0 : concurrency - held.size;
      const claimed = free > 0 ? await claim(free) : [];
      if (claimed.length > 0) {
        for (const row of claimed) held.add(row);
        const task = work(claimed)
          .catch((error: unknown) => {
            // Nothing was handed to a provider yet: the leases run out and the rows are work again.
            log.error({ error, deliveries: claimed.length }, 'batch given up');
            for (const row of claimed) held.delete(row);
          })
          .finally(() => working.delete(task));
        working.add(task);
        continue;
      }
      let timer: NodeJS.Timeout | undefined;
      await Promise.race([woken, new Promise((resolve) => (timer = setTimeout(resolve, pollMs)))]);
      clearTimeout(timer);
    }
  };

  const renewal = setInterval(() => {
    renewLeases(database, held, leaseMs).catch((error: unknown) => log.error({ error }, 'leases not renewed'));
  }, leaseMs / 3);
  const unsubscribe = bus.subscribe(topics.due, () => wake());
  const loop = claimLoop();
  return {
    close: async () => {
      isClosing = true;
      unsubscribe();
      wake();
      await loop;
      await Promise.all(working);
      clearInterval(renewal);
    },
  };
}

/** Tells whoever watches what changed. */
function announce(bus: Bus, { logs, notifications }: Settled): void {
  for (const [tenantId, group] of Map.groupBy(logs, (row) => row.tenantId)) {
    bus.publish(
      topics.logs(tenantId),
      group.map((row) => row.id),
    );
  }
  for (const { tenantId, userId } of notifications) bus.publish(topics.inbox(tenantId, userId), null);
}

function settlementOf(row: ClaimedLog, plan: Exclude<Plan, { kind: 'send' }>): Settlement {
  if (plan.kind === 'end') {
    const { status, channel, errorCode, errorMessage } = plan;
    return { log: row, status, channel, errorCode, errorMessage };
  }
  const { audience, content, template } = plan;
  const { id: logId, leaseToken, tenantId, category } = row;
  return {
    log: row,
    status: 'sent',
    channel: 'in_app',
    template,
    inbox: { logId, leaseToken, tenantId, audience, content, category },
  };
}

function unknownProvider(row: ClaimedLog, plan: SendPlan): Settlement {
  return {
    log: row,
    status: 'failed',
    channel: plan.channel,
    errorCode: 'channel_misconfigured',
    errorMessage: `There is no provider "${plan.provider.provider}" for ${plan.channel}.`,
  };
}
