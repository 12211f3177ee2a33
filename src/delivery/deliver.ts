import type { Provider } from '../channels/channel.ts';
import type { SendFailure } from '../channels/send-result.ts';
import type { TenantSettings } from '../tenants/settings.ts';
import type { ClaimedLog } from './claim.ts';
import type { Bulkheads } from './bulkheads.ts';
import type { Plan } from './plan.ts';
import { afterFailure } from './route.ts';
import type { Settlement } from './settle.ts';

export type SendPlan = Extract<Plan, { kind: 'send' }>;

/** A message whose attempt is written down. */
export interface Delivery {
  log: ClaimedLog;
  plan: SendPlan;
  settings: TenantSettings;
  provider: Pick<Provider, 'send'>;
}

export interface DeliverOptions {
  bulkheads: Bulkheads;
  /** A provider that has not answered so long after it was handed a message has failed. Milliseconds. */
  timeoutMs: number;
}

/** Messages in hand with one provider of one tenant, where nobody says otherwise. */
const DEFAULT_CONCURRENCY = 100;

/** Hands one message to its provider and says how the row is to be settled. Never rejects. */
export async function deliver(
  { log, plan, settings, provider }: Delivery,
  options: DeliverOptions,
): Promise<Settlement> {
  const { channel, step, message, template } = plan;
  const { name, config, origin, limits } = plan.provider;
  const stepAttempts = step === log.step ? log.stepAttempts + 1 : 1;
  const number = log.attempts + 1;
  const base = { log, channel, template };
  let startedAt = performance.now();
  const result = await options.bulkheads.run(
    { tenantId: log.tenantId, channel, provider: name },
    limits?.concurrency ?? DEFAULT_CONCURRENCY,
    () => {
      startedAt = performance.now();
      return provider
        .send(message, config, { timeoutMs: options.timeoutMs, isTrusted: origin !== 'database' })
        .catch((error: Error) => unexpected(error));
    },
  );
  if (result === undefined) {
    const until = options.bulkheads.blockedUntil({ tenantId: log.tenantId, channel, provider: name });
    return {
      ...waiting(log, until ? untilRecovered(until) : 0),
      withdrawn: { number },
      next: { step, stepAttempts: stepAttempts - 1, provider: log.provider, excludedProviders: excludedAt(log, step) },
    };
  }

  const durationMs = Math.round(performance.now() - startedAt);
  const attempt = { number, provider: name, outcome: result.outcome, durationMs };
  if (result.outcome === 'ok') {
    const { providerMessageId } = result;
    return {
      ...base,
      status: step > 0 ? 'sent_fallback' : 'sent',
      attempt: { ...attempt, ...(providerMessageId === undefined ? {} : { providerMessageId }) },
    };
  }

  const { errorCode, errorMessage, suppress } = result;
  const failed = {
    ...base,
    attempt,
    errorCode,
    errorMessage,
    ...(suppress && { suppress: { address: message.address, reason: suppress } }),
  };
  const now = Date.now();
  const move = afterFailure({ step, stepAttempts, provider: name, excludedProviders: excludedAt(log, step) }, result, {
    providers: plan.providers,
    retry: settings.retry,
    elapsedMs: now - log.scheduledAt.getTime(),
    remainingMs: log.expiresAt ? log.expiresAt.getTime() - now : Number.POSITIVE_INFINITY,
    hasNextChannel: step + 1 < plan.route.length,
    random: Math.random(),
  });
  switch (move.kind) {
    case 'retry':
      return {
        ...failed,
        status: 'retrying',
        retryInMs: move.delayMs,
        next: { step, stepAttempts, provider: move.provider, excludedProviders: move.excludedProviders },
      };
    case 'next_channel':
      return {
        ...failed,
        status: 'retrying',
        retryInMs: 0,
        next: { step: step + 1, stepAttempts: 0, provider: null, excludedProviders: [] },
      };
    case 'end':
      return { ...failed, status: move.status };
  }
}

/** Those who wait for a provider come back one after the other, and not all at its first moment. Milliseconds. */
const RECOVERY_SPREAD_MS = 5_000;

/** How long to wait for a circuit that may be tried again then. Milliseconds. */
export const untilRecovered = (until: Date): number =>
  until.getTime() - Date.now() + Math.random() * RECOVERY_SPREAD_MS;

/** A row that goes back to the queue as it was, for so long. Milliseconds. */
export function waiting(log: ClaimedLog, forMs: number): Settlement {
  return {
    log,
    status: log.attempts > 0 ? 'retrying' : 'queued',
    retryInMs: Math.max(0, Math.ceil(forMs)),
    errorCode: log.errorCode ?? undefined,
    errorMessage: log.errorMessage ?? undefined,
  };
}

const excludedAt = (log: ClaimedLog, step: number): string[] => (step === log.step ? log.excludedProviders : []);

/** It may have been handed over before it went wrong. */
const unexpected = (error: Error): SendFailure => ({
  outcome: 'unknown',
  blames: 'provider',
  errorCode: 'provider_error',
  errorMessage: `The provider failed unexpectedly (${error.name}).`,
});
