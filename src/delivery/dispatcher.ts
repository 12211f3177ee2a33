import type { Provider } from '../channels/channel.ts';
import type { Providers } from '../channels/registry.ts';
import type { DeliveryMode } from '../config.ts';
import type { Database } from '../database/database.ts';
import { isRefusedData } from '../database/errors.ts';
import { type Bus, topics } from '../live/bus.ts';
import type { Log } from '../log.ts';
import type { TemplateLookup } from '../templates/lookup.ts';
import type { TenantSettingsSource } from '../tenants/settings.ts';
import { openAttempts } from './attempts.ts';
import { claimDue, type ClaimedLog } from './claim.ts';
import { deliver } from './deliver.ts';
import { candidateChannels, type Plan, type PlanContext, planDelivery } from './plan.ts';
import { DEFAULT_RETRY, type RetryPolicy } from './retry.ts';
import { settleBatch, type Settlement } from './settle.ts';

export interface DispatcherOptions {
  database: Database;
  bus: Bus;
  templates: TemplateLookup;
  settings: TenantSettingsSource;
  providers: Providers;
  /** Takes the place of every provider in sandbox mode. */
  sandbox: Pick<Provider, 'name' | 'send'>;
  mode: DeliveryMode;
  log: Log;
  retry?: RetryPolicy;
  /** Deliveries in hand at once. */
  concurrency?: number;
  /** How long a row is ours. A process that dies leaves its rows to the others after this time. Milliseconds. */
  leaseMs?: number;
  /** How often to look for due rows when nothing wakes us. Milliseconds. */
  pollMs?: number;
}

export interface Dispatcher {
  /** Stops claiming, finishes and settles what is in hand. */
  close(): Promise<void>;
}

const SANDBOX = { provider: 'sandbox', config: {} };
const INTERNAL = { errorCode: 'internal', errorMessage: 'The delivery failed inside the service.' };

type Sendable = { log: ClaimedLog; plan: Extract<Plan, { kind: 'send' }>; provider: Pick<Provider, 'name' | 'send'> };

/**
 * Works off the queue: claims due rows, plans them, hands them to providers and settles them, in batches. Only as
 * many rows are claimed as can be worked on at once, so no lease runs out in a waiting line.
 */
export function startDispatcher(options: DispatcherOptions): Dispatcher {
  const { database, bus, log, retry = DEFAULT_RETRY } = options;
  const { concurrency = 200, leaseMs = 60_000, pollMs = 1_000 } = options;
  const sendTimeoutMs = leaseMs / 2;
  let inHand = 0;
  let isClosing = false;
  let isRecording = true;
  let wake = (): void => {};
  const working = new Set<Promise<void>>();

  const waiting: Settlement[] = [];
  let flushing: Promise<void> | undefined;

  /** Settles what has come together meanwhile; while one batch is written the next one gathers. */
  const settle = async (settlement: Settlement): Promise<void> => {
    waiting.push(settlement);
    flushing ??= flush().finally(() => (flushing = undefined));
    await flushing;
  };

  const record = async (batch: Settlement[]): Promise<void> => {
    announce(await settleBatch(database, batch));
    for (const settlement of batch) logSettlement(log, settlement);
    inHand -= batch.length;
    wake();
  };

  const settleApart = async (batch: Settlement[]): Promise<void> => {
    const [only] = batch;
    if (only && batch.length === 1) {
      log.error({ tenant_id: only.log.tenantId, event_id: only.log.eventId }, 'outcome refused as data');
      // Where not even the failure is taken, the lease runs out and the row is tried again, a bounded number of times.
      if (only.errorCode === INTERNAL.errorCode) inHand -= 1;
      else waiting.push(internalFailure(only.log));
      return;
    }
    const middle = Math.ceil(batch.length / 2);
    for (const half of [batch.slice(0, middle), batch.slice(middle)]) {
      try {
        await record(half);
      } catch (error) {
        if (isRefusedData(error)) await settleApart(half);
        else waiting.unshift(...half);
      }
    }
  };

  const flush = async (): Promise<void> => {
    for (let delayMs = 100; waiting.length > 0;) {
      // Lets everything that ended in this turn of the event loop into the same batch.
      await new Promise((resolve) => setImmediate(resolve));
      const batch = waiting.splice(0);
      try {
        await record(batch);
        delayMs = 100;
        isRecording = true;
      } catch (error) {
        // The messages are out and only the record is missing. Until it is written nothing new is claimed: the
        // leases may run out, and this process must not take its own rows for a dead one's.
        isRecording = false;
        // One row that the database refuses must not hold up the others: it is set apart, alone.
        if (isRefusedData(error)) {
          await settleApart(batch);
          continue;
        }
        log.error({ error, deliveries: batch.length }, 'deliveries not recorded, trying again');
        waiting.unshift(...batch);
        await new Promise((resolve) => setTimeout(resolve, delayMs));
        delayMs = Math.min(delayMs * 2, 2_000);
      }
    }
  };

  const announce = ({ logs, notifications }: Awaited<ReturnType<typeof settleBatch>>): void => {
    for (const [tenantId, group] of Map.groupBy(logs, (row) => row.tenantId)) {
      bus.publish(
        topics.logs(tenantId),
        group.map((row) => row.id),
      );
    }
    for (const { tenantId, userId } of notifications) bus.publish(topics.inbox(tenantId, userId), null);
  };

  const work = async (claimed: ClaimedLog[]): Promise<void> => {
    const sendable: Sendable[] = [];
    const settled: Settlement[] = [];
    for (const { log: row, plan } of await planBatch(claimed, options)) {
      if (plan.kind !== 'send') {
        settled.push(settlementOf(row, plan));
        continue;
      }
      const provider =
        options.mode === 'sandbox' ? options.sandbox : options.providers.find(plan.channel, plan.provider.provider);
      if (provider) sendable.push({ log: row, plan, provider });
      else settled.push(unknownProvider(row, plan));
    }
    await openAttempts(
      database,
      sendable.map(({ log: row, plan, provider }) => ({ log: row, channel: plan.channel, provider: provider.name })),
    );
    await Promise.all([
      ...settled.map(settle),
      ...sendable.map(async ({ log: row, plan, provider }) =>
        settle(await deliver(row, plan, provider, { retry, timeoutMs: sendTimeoutMs })),
      ),
    ]);
  };

  const claimLoop = async (): Promise<void> => {
    while (!isClosing) {
      const woken = new Promise<void>((resolve) => (wake = resolve));
      const free = concurrency - inHand;
      let claimed: ClaimedLog[] = [];
      if (free > 0 && isRecording) {
        try {
          claimed = await claimDue(database, free, leaseMs);
        } catch (error) {
          log.error({ error }, 'cannot claim due notifications');
        }
      }
      if (claimed.length > 0) {
        inHand += claimed.length;
        const task = work(claimed)
          .catch((error: unknown) => {
            // Nothing was handed to a provider; the lease runs out and the rows are work again.
            log.error({ error, deliveries: claimed.length }, 'batch given up');
            inHand -= claimed.length;
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

  if (options.mode === 'hold') {
    log.info('delivery mode is hold: notifications stay queued');
    return { close: async () => {} };
  }
  const unsubscribe = bus.subscribe(topics.due, () => wake());
  const loop = claimLoop();
  return {
    close: async () => {
      isClosing = true;
      unsubscribe();
      wake();
      await loop;
      await Promise.all(working);
    },
  };
}

/** Reads settings and templates for the whole batch and decides each row on its own. */
async function planBatch(
  claimed: ClaimedLog[],
  { settings, templates, mode, log }: DispatcherOptions,
): Promise<{ log: ClaimedLog; plan: Plan }[]> {
  const templated = claimed.filter((row) => !row.content);
  const [settingsOf, templatesOf] = await Promise.all([
    settings.load(claimed.map((row) => row.tenantId)),
    templates.load(
      templated.flatMap((row) =>
        candidateChannels(row).map((channel) => ({ tenantId: row.tenantId, eventCode: row.eventCode, channel })),
      ),
    ),
  ]);
  const now = new Date();
  return claimed.map((row) => {
    const tenant = settingsOf.get(row.tenantId);
    if (!tenant) throw new Error('settings of a tenant were not loaded');
    const context: PlanContext = {
      defaultLocale: tenant.defaultLocale,
      providerFor: (channel) => (mode === 'sandbox' ? SANDBOX : tenant.channels[channel]),
      templatesFor: (channel) => templatesOf({ tenantId: row.tenantId, eventCode: row.eventCode, channel }),
      now,
    };
    try {
      return { log: row, plan: planDelivery(row, context) };
    } catch (error) {
      log.error({ error, tenant_id: row.tenantId, event_id: row.eventId }, 'delivery cannot be planned');
      return { log: row, plan: { kind: 'end', status: 'failed', ...INTERNAL } };
    }
  });
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

const internalFailure = (row: ClaimedLog): Settlement => ({ log: row, status: 'failed', ...INTERNAL });

function unknownProvider(row: ClaimedLog, plan: Extract<Plan, { kind: 'send' }>): Settlement {
  return {
    log: row,
    status: 'failed',
    channel: plan.channel,
    errorCode: 'channel_misconfigured',
    errorMessage: `There is no provider "${plan.provider.provider}" for ${plan.channel}.`,
  };
}

function logSettlement(log: Log, { log: row, status, channel, template, errorCode, errorMessage }: Settlement): void {
  const fields = {
    tenant_id: row.tenantId,
    trace_id: row.traceId,
    event_id: row.eventId,
    template_id: template?.templateId,
    channel,
    status,
    attempts: row.attempts,
  };
  if (errorCode === undefined) log.info(fields, 'notification delivered');
  else log.warn({ ...fields, error_code: errorCode, error_message: errorMessage }, 'notification not delivered');
}
