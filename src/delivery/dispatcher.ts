import { setTimeout as delay } from 'node:timers/promises';

import type { Provider } from '../channels/channel.ts';
import { IN_APP } from '../channels/in-app.ts';
import type { Providers } from '../channels/registry.ts';
import type { Database } from '../database/database.ts';
import type { Channel } from '../intake/channel.ts';
import { newId } from '../ids.ts';
import type { Keyring } from '../keyring.ts';
import { type Bus, topics } from '../live/bus.ts';
import type { DeliveryOutcome } from '../observability/metrics.ts';
import { createAttemptOpener } from './attempts.ts';
import { type Claim, type ClaimedLog, claimDue, renewLeases } from './claim.ts';
import { deliver, type Delivery, untilRecovered, waiting } from './deliver.ts';
import { createInFlight } from './in-flight.ts';
import { type Heartbeat, startHeartbeat } from './instances.ts';
import type { Bulkheads } from './bulkheads.ts';
import { limitRates } from './rate-limit.ts';
import type { Plan } from './plan.ts';
import { planBatch, type PlanBatchOptions, type PlannedLog } from './plan-batch.ts';
import { createRecorder } from './recorder.ts';
import type { Settled, Settlement } from './settle.ts';

export interface DispatcherOptions extends PlanBatchOptions {
  database: Database;
  bus: Bus;
  providers: Providers;
  /** Replaces every provider in sandbox mode. */
  sandbox: Pick<Provider, 'name' | 'send'>;
  bulkheads: Bulkheads;
  /** Decrypts stored addresses. */
  keyring: Keyring;
  /** Called for each delivery that reached a terminal status, except test notifications. */
  onEnded?: (outcome: DeliveryOutcome) => void;
  /** Maximum number of deliveries in flight. */
  concurrency?: number;
  /** Maximum number of deliveries in flight per tenant, unless the tenant's settings set another. */
  tenantConcurrency?: number;
  /** Duration of a lease, in milliseconds. It frees the rows of a dead process that recorded no heartbeat. */
  leaseMs?: number;
  /** Time between two polls for due rows when no event wakes the dispatcher, in milliseconds. */
  pollMs?: number;
}

export interface Dispatcher {
  /** Polls for due rows at once, e.g. after the mode changed. */
  wake(): void;
  /** Stops claiming, and resolves when all deliveries in flight are settled. */
  close(): Promise<void>;
}

/** Maximum number of rows per claim. Bounds the duration of the statement. */
const CLAIM_LIMIT = 500;
/** Time between two claims that returned rows, in milliseconds. */
const GATHER_MS = 15;

/**
 * Delivers the queue in batches: claims due rows, plans them, applies rate limits, sends them through providers and
 * records the outcomes. It claims only rows that it can start at once, and renews their leases until they are settled.
 */
export function startDispatcher(options: DispatcherOptions): Dispatcher {
  const { database, bus, log, bulkheads, onEnded } = options;
  const { concurrency = 5_000, tenantConcurrency = 1_000, leaseMs = 60_000, pollMs = 1_000 } = options;

  const owner = newId();
  const attempts = createAttemptOpener(database);
  const inFlight = createInFlight(concurrency, tenantConcurrency);
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

  const release = (row: ClaimedLog): void => {
    attempts.settle(row);
    inFlight.release(row);
  };

  const finish = async (settlement: Settlement): Promise<void> => {
    await recorder.record(settlement);
    release(settlement.log);
    wake();
  };

  const send = async (delivery: Delivery): Promise<void> => {
    let settlement: Settlement | undefined;
    try {
      settlement = await deliver(delivery, { attempts, bulkheads, timeoutMs: leaseMs / 2 });
    } catch (error) {
      log.error({ error, event_id: delivery.log.eventId }, 'attempt not recorded, so nothing was sent');
      settlement = unsent(delivery.log, pollMs);
    }
    if (settlement) await finish(settlement);
    else release(delivery.log);
  };

  const work = async (planned: PlannedLog[]): Promise<void> => {
    const settlements: Settlement[] = [];
    const sendable: Delivery[] = [];
    const excess = new Map<string, number>();
    for (const { log: row, settings } of planned) {
      excess.set(row.tenantId, inFlight.limit(row.tenantId, settings.limits.concurrency));
    }
    for (const { log: row, plan, settings, mode } of planned) {
      const remainingExcess = excess.get(row.tenantId) ?? 0;
      excess.set(row.tenantId, remainingExcess - 1);
      if (remainingExcess > 0) settlements.push(waiting(row, 0));
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
    await Promise.all([...settlements.map(finish), ...ready.map(send)]);
  };

  const claim = async (limit: number, after: string): Promise<Claim> => {
    try {
      const { capacity, defaultCapacity } = inFlight;
      return await claimDue(database, { owner, limit, leaseMs, after, capacity: capacity(), defaultCapacity });
    } catch (error) {
      log.error({ error }, 'claiming due notifications failed, trying again');
      return { rows: [], after: '' };
    }
  };

  const claimLoop = async (): Promise<void> => {
    await heartbeat;
    let after = '';
    /** True if the empty claims since the last claimed row include one that started at the first tenant. */
    let isWholeRound = false;
    while (!isClosing) {
      const woken = new Promise<void>((resolve) => (wake = resolve));
      const arrived = new Promise<void>((resolve) => (arrive = resolve));
      const isIdle = recorder.isBehind || options.mode() === 'hold';
      const limit = isIdle ? 0 : Math.min(inFlight.free, CLAIM_LIMIT);
      const from = after;
      const claimed: Claim = limit > 0 ? await claim(limit, from) : { rows: [], after: '' };
      after = claimed.after;
      if (claimed.rows.length > 0) {
        isWholeRound = false;
        for (const row of claimed.rows) inFlight.add(row);
        const task = planBatch(claimed.rows, options)
          .then(work)
          .catch((error: unknown) => {
            log.error(
              { error, deliveries: claimed.rows.length },
              'delivering a batch failed, its notifications are queued again',
            );
            return Promise.all(claimed.rows.map((row) => finish(unsent(row, pollMs))));
          })
          .finally(() => working.delete(task));
        working.add(task);
        // Under load, deliveries finish one by one, so a short delay lets the next claim take more rows. The delay is
        // longer when much more is in flight than was just claimed. A new notification ends it early.
        const isPlenty = concurrency - inFlight.free > 4 * claimed.rows.length;
        await Promise.race([arrived, delay(isPlenty ? 3 * GATHER_MS : GATHER_MS)]);
        continue;
      }
      // Some tenants have not been checked yet.
      isWholeRound ||= from === '';
      if (limit > 0 && (after !== '' || !isWholeRound)) continue;
      isWholeRound = false;
      let timer: NodeJS.Timeout | undefined;
      await Promise.race([woken, new Promise((resolve) => (timer = setTimeout(resolve, pollMs)))]);
      clearTimeout(timer);
    }
  };

  const renewal = setInterval(() => {
    renewLeases(database, inFlight.rows(), leaseMs).catch((error: unknown) =>
      log.error({ error }, 'renewing leases failed, trying again'),
    );
  }, leaseMs / 3);
  const wakeUp = (): void => {
    arrive();
    wake();
  };
  const heartbeat: Promise<Heartbeat> = startHeartbeat({ database, log, instanceId: owner, onReleased: wakeUp });
  const unsubscribe = [topics.due, topics.config].map((topic) => bus.subscribe(topic, wakeUp));
  const loop = claimLoop();
  return {
    wake: wakeUp,
    close: async () => {
      isClosing = true;
      for (const end of unsubscribe) end();
      bulkheads.close();
      wake();
      await loop;
      await Promise.all(working);
      clearInterval(renewal);
      await (await heartbeat).close();
    },
  };
}

/**
 * Returns the settlement of a row whose batch failed before a provider was called. Removes its attempt if one was
 * opened.
 */
function unsent(row: PlannedLog['log'], forMs: number): Settlement {
  return { ...waiting(row, forMs), next: row, withdrawn: { number: row.attempts + 1 } };
}

/** Publishes changed delivery records and inboxes to subscribers. */
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
    // The inbox is written in the transaction that settles the row, so the outcome is always known.
    attempt: { number: row.attempts + 1, provider: IN_APP.name, outcome: 'ok', durationMs: 0 },
    inbox: { logId, leaseToken, tenantId, audience, content, category, consent },
  };
}

/** Replaces a provider that is not installed: its failure moves the delivery to the next provider or channel. */
const unknownProvider = (channel: Channel, name: string): Pick<Provider, 'send'> => ({
  send: async () => ({
    outcome: 'permanent',
    blames: 'provider',
    errorCode: 'channel_misconfigured',
    errorMessage: `This service has no provider "${name}" for ${channel}. Correct the tenant's channel configuration.`,
  }),
});
