import { setTimeout as delay } from 'node:timers/promises';

import type { Provider } from '../channels/channel.ts';
import { IN_APP } from '../channels/in-app.ts';
import type { Providers } from '../channels/registry.ts';
import type { Database } from '../database/database.ts';
import type { Channel } from '../intake/channel.ts';
import type { Keyring } from '../keyring.ts';
import { type Bus, topics } from '../live/bus.ts';
import type { DeliveryOutcome } from '../observability/metrics.ts';
import { openAttempts } from './attempts.ts';
import { type Claim, claimDue, renewLeases } from './claim.ts';
import { deliver, type Delivery, untilRecovered, waiting } from './deliver.ts';
import { createInFlight } from './in-flight.ts';
import type { Bulkheads } from './bulkheads.ts';
import { limitRates } from './token-bucket.ts';
import type { Plan } from './plan.ts';
import { planBatch, type PlanBatchOptions, type PlannedLog } from './plan-batch.ts';
import { createRecorder } from './recorder.ts';
import type { Settled, Settlement } from './settle.ts';

export interface DispatcherOptions extends PlanBatchOptions {
  database: Database;
  bus: Bus;
  providers: Providers;
  /** Takes the place of every provider in sandbox mode. */
  sandbox: Pick<Provider, 'name' | 'send'>;
  bulkheads: Bulkheads;
  /** For addresses that are kept encrypted. */
  keyring: Keyring;
  /** Called for each delivery that came to its end. Tests are left out. */
  onEnded?: (outcome: DeliveryOutcome) => void;
  /** Deliveries in hand at once. */
  concurrency?: number;
  /** Of these, one tenant's at the most, where its settings do not say otherwise. */
  tenantConcurrency?: number;
  /** How long a row is ours. A process that dies leaves its rows to the others after this time. Milliseconds. */
  leaseMs?: number;
  /** How often to look for due rows when nothing wakes us. Milliseconds. */
  pollMs?: number;
}

export interface Dispatcher {
  /** Looks for work at once, e.g. because the mode was changed. */
  wake(): void;
  /** Stops claiming, finishes and records what is in hand. */
  close(): Promise<void>;
}

/** Rows that one claim takes at the most, so that no statement is long. */
const CLAIM_LIMIT = 500;
/** Between two claims that found something. Milliseconds. */
const GATHER_MS = 15;

/**
 * Works off the queue: claims due rows, plans them, holds them against the limits, hands them to providers and records
 * the outcomes, in batches. Only as many rows are claimed as can be worked on at once, and their leases are renewed
 * until they are recorded.
 */
export function startDispatcher(options: DispatcherOptions): Dispatcher {
  const { database, bus, log, bulkheads, onEnded } = options;
  const { concurrency = 5_000, tenantConcurrency = 1_000, leaseMs = 60_000, pollMs = 1_000 } = options;

  /** What is in hand, and ours for as long as this process lives. */
  const hand = createInFlight(concurrency, tenantConcurrency);
  let isClosing = false;
  let wake = (): void => {};
  let arrive = (): void => {};
  const working = new Set<Promise<unknown>>();
  const recorder = createRecorder({
    database,
    settings: options.settings,
    keyring: options.keyring,
    log,
    onRecorded: (settled) => announce(bus, settled),
    ...(onEnded && { onEnded }),
  });

  const finish = async (settlement: Settlement): Promise<void> => {
    await recorder.record(settlement);
    hand.release(settlement.log);
    wake();
  };

  const work = async (planned: PlannedLog[]): Promise<void> => {
    const settlements: Settlement[] = [];
    const sendable: Delivery[] = [];
    const excess = new Map<string, number>();
    for (const { log: row, settings } of planned) {
      excess.set(row.tenantId, hand.limit(row.tenantId, settings.limits.concurrency));
    }
    for (const { log: row, plan, settings, mode } of planned) {
      const tooMany = excess.get(row.tenantId) ?? 0;
      excess.set(row.tenantId, tooMany - 1);
      if (tooMany > 0) settlements.push(waiting(row, 0));
      else if (mode === 'hold') settlements.push(waiting(row, pollMs));
      else if (plan.kind !== 'send') settlements.push(settlementOf(row, plan));
      else {
        const { provider: kind } = plan.provider;
        const known = mode === 'sandbox' ? options.sandbox : options.providers.find(plan.channel, kind);
        sendable.push({ log: row, plan, settings, provider: known ?? unknownProvider(plan.channel, kind) });
      }
    }
    const { ready, late } = await limitRates(database, sendable);
    for (const { delivery, afterMs } of late) settlements.push(waiting(delivery.log, afterMs));
    const opened = await openAttempts(
      database,
      ready.map(({ log: row, plan }) => ({ ...plan, log: row, provider: plan.provider.name })),
    );
    await Promise.all([
      ...settlements.map(finish),
      ...ready.map(async (delivery) => {
        if (opened.has(delivery.log.id)) await finish(await deliver(delivery, { bulkheads, timeoutMs: leaseMs / 2 }));
        else hand.release(delivery.log);
      }),
    ]);
  };

  const claim = async (limit: number, after: string): Promise<Claim> => {
    try {
      const { places, defaultPlaces } = hand;
      return await claimDue(database, { limit, leaseMs, after, places: places(), defaultPlaces });
    } catch (error) {
      log.error({ error }, 'cannot claim due notifications');
      return { rows: [], after: '' };
    }
  };

  const claimLoop = async (): Promise<void> => {
    let after = '';
    /** The tenants were looked through from the first one on since something was last found. */
    let isWholeRound = false;
    while (!isClosing) {
      const woken = new Promise<void>((resolve) => (wake = resolve));
      const arrived = new Promise<void>((resolve) => (arrive = resolve));
      const isIdle = recorder.isBehind || options.mode() === 'hold';
      const limit = isIdle ? 0 : Math.min(hand.free, CLAIM_LIMIT);
      const from = after;
      const claimed: Claim = limit > 0 ? await claim(limit, from) : { rows: [], after: '' };
      after = claimed.after;
      if (claimed.rows.length > 0) {
        isWholeRound = false;
        for (const row of claimed.rows) hand.take(row);
        const task = planBatch(claimed.rows, options)
          .then(work)
          .catch((error: unknown) => {
            log.error({ error, deliveries: claimed.rows.length }, 'batch given up');
            return Promise.all(claimed.rows.map((row) => finish(unsent(row, pollMs))));
          })
          .finally(() => working.delete(task));
        working.add(task);
        // Under load places come free one by one: a moment later there are more of them to be filled at once. Where much
        // more is in hand than came in now, that may be a longer moment; what is new does not wait for it.
        const isPlenty = concurrency - hand.free > 4 * claimed.rows.length;
        await Promise.race([arrived, delay(isPlenty ? 3 * GATHER_MS : GATHER_MS)]);
        continue;
      }
      // Not every tenant had its turn yet.
      isWholeRound ||= from === '';
      if (limit > 0 && (after !== '' || !isWholeRound)) continue;
      isWholeRound = false;
      let timer: NodeJS.Timeout | undefined;
      await Promise.race([woken, new Promise((resolve) => (timer = setTimeout(resolve, pollMs)))]);
      clearTimeout(timer);
    }
  };

  const renewal = setInterval(() => {
    renewLeases(database, hand.rows(), leaseMs).catch((error: unknown) => log.error({ error }, 'leases not renewed'));
  }, leaseMs / 3);
  const look = (): void => {
    arrive();
    wake();
  };
  const unsubscribe = [topics.due, topics.config].map((topic) => bus.subscribe(topic, look));
  const loop = claimLoop();
  return {
    wake: look,
    close: async () => {
      isClosing = true;
      for (const end of unsubscribe) end();
      bulkheads.close();
      wake();
      await loop;
      await Promise.all(working);
      clearInterval(renewal);
    },
  };
}

/** A row of a batch that came to nothing before any provider was called, whether or not its attempt was opened. */
function unsent(row: PlannedLog['log'], forMs: number): Settlement {
  return { ...waiting(row, forMs), next: row, withdrawn: { number: row.attempts + 1 } };
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

function settlementOf(row: PlannedLog['log'], plan: Exclude<Plan, { kind: 'send' }>): Settlement {
  if (plan.kind === 'wait') {
    return waiting(
      row,
      plan.reason === 'circuit_open' ? untilRecovered(plan.until) : plan.until.getTime() - Date.now(),
    );
  }
  if (plan.kind === 'end') {
    const { status, channel, errorCode, errorMessage } = plan;
    return { log: row, status, channel, errorCode, errorMessage };
  }
  const { audience, content, template, category, consent, step } = plan;
  const { id: logId, leaseToken, tenantId } = row;
  return {
    log: row,
    status: step > 0 ? 'sent_fallback' : 'sent',
    channel: IN_APP.channel,
    template,
    // Written in the transaction that settles the row, so it cannot be in doubt.
    attempt: { number: row.attempts + 1, provider: IN_APP.name, outcome: 'ok', durationMs: 0 },
    inbox: { logId, leaseToken, tenantId, audience, content, category, consent },
  };
}

/** Stands in for a provider that nobody has: another one, or another channel, takes over. */
const unknownProvider = (channel: Channel, name: string): Pick<Provider, 'send'> => ({
  send: async () => ({
    outcome: 'permanent',
    blames: 'provider',
    errorCode: 'channel_misconfigured',
    errorMessage: `There is no provider "${name}" for ${channel}.`,
  }),
});
