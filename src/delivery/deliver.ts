import type { Provider } from '../channels/channel.ts';
import type { BeginOptions } from '../channels/send-options.ts';
import type { SendFailure } from '../channels/send-result.ts';
import type { TenantSettings } from '../tenants/settings.ts';
import type { AttemptOpener, Opening } from './attempts.ts';
import type { ClaimedLog } from './claim.ts';
import type { Bulkheads } from './bulkheads.ts';
import type { Plan } from './plan.ts';
import { inDoubt } from './plan.ts';
import { afterFailure } from './route.ts';
import type { Settlement } from './settle.ts';

export type SendPlan = Extract<Plan, { kind: 'send' }>;

/** A message to send. */
export interface Delivery {
  log: ClaimedLog;
  plan: SendPlan;
  settings: TenantSettings;
  provider: Pick<Provider, 'send' | 'beginsItself' | 'deduplicates'>;
}

export interface DeliverOptions {
  attempts: AttemptOpener;
  bulkheads: Bulkheads;
  /** Maximum duration of a call to a provider, in milliseconds. A longer call counts as failed. */
  timeoutMs: number;
}

/** Maximum number of concurrent calls to one provider of one tenant, unless its settings set another. */
const DEFAULT_CONCURRENCY = 100;

/**
 * Sends one message through its provider and returns the settlement of its row; undefined if another process holds the
 * lease. Rejects only when the attempt cannot be recorded, and then the provider was not called.
 */
export async function deliver(
  { log, plan, settings, provider }: Delivery,
  options: DeliverOptions,
): Promise<Settlement | undefined> {
  const { channel, step, message, template, route } = plan;
  const { name, config, origin, limits } = plan.provider;
  const stepAttempts = step === log.step ? log.stepAttempts + 1 : 1;
  const number = log.attempts + 1;
  const base = { log, channel, template };
  const key = { tenantId: log.tenantId, channel, provider: name };
  const { deduplicates = false } = provider;
  let opening: Opening | undefined;
  const begin = ({ isNext = false }: BeginOptions = {}): Promise<boolean> => {
    opening ??= options.attempts.open({ log, channel, provider: name, route, step, deduplicates });
    if (!isNext) opening.start();
    return opening.isHeld;
  };
  let startedAt = performance.now();
  const call = await options.bulkheads.run(key, limits?.concurrency ?? DEFAULT_CONCURRENCY, {
    begin: provider.beginsItself ? async () => true : () => begin(),
    send: async () => {
      startedAt = performance.now();
      const result = await provider
        .send(message, config, { timeoutMs: options.timeoutMs, isTrusted: origin !== 'database', begin })
        .catch((error: Error) => unexpected(error));
      // If the attempt was not recorded, nothing was sent, and the provider is not to blame.
      return opening && !(await begin().catch(() => false)) ? notSent : result;
    },
  });
  if (call.kind === 'lost') return undefined;
  if (call.kind === 'blocked') {
    const until = options.bulkheads.blockedUntil(key);
    const settlement = waiting(log, until ? untilRecovered(until) : 0);
    return opening ? { ...settlement, next: log, withdrawn: { number } } : settlement;
  }
  if (opening && !(await begin())) return undefined;

  const { result } = call;
  const durationMs = Math.round(performance.now() - startedAt);
  const attempt = {
    number,
    provider: name,
    outcome: result.outcome,
    deduplicates,
    durationMs,
    // Nothing was handed over, so a crash before this point leaves the message as it was.
    ...(!opening && { unopened: { route } }),
  };
  if (result.outcome === 'ok') {
    const { providerMessageId } = result;
    return {
      ...base,
      status: step > 0 ? 'sent_fallback' : 'sent',
      attempt: { ...attempt, ...(providerMessageId === undefined ? {} : { providerMessageId }) },
    };
  }

  const { errorCode, errorMessage, suppress } = result;
  const excludedProviders = excludedAt(log, step);
  const failed = {
    ...base,
    attempt,
    ...(!opening && { next: { step, stepAttempts, provider: name, excludedProviders } }),
    errorCode,
    errorMessage,
    ...(suppress && { suppress: { address: message.address, reason: suppress } }),
  };
  const now = Date.now();
  const unknownSince = log.unknownSince ?? (result.outcome === 'unknown' && !deduplicates ? number : null);
  const move = afterFailure({ step, stepAttempts, provider: name, excludedProviders }, result, {
    providers: plan.providers,
    retry: settings.retry,
    elapsedMs: now - log.scheduledAt.getTime(),
    remainingMs: log.expiresAt ? log.expiresAt.getTime() - now : Number.POSITIVE_INFINITY,
    hasNextChannel: step + 1 < plan.route.length,
    attemptsSinceUnknown: unknownSince === null ? null : number - unknownSince,
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
    case 'in_doubt':
      return { ...failed, status: 'failed', ...inDoubt(unknownSince ?? number, errorMessage) };
    case 'end':
      return { ...failed, status: move.status };
  }
}

/** Random delay added to the end of an outage, in milliseconds, so that waiting messages do not all return at once. */
const RECOVERY_SPREAD_MS = 5_000;

/** Returns the time to wait, in milliseconds, for a circuit that allows a trial at `until`. */
export const untilRecovered = (until: Date): number =>
  until.getTime() - Date.now() + Math.random() * RECOVERY_SPREAD_MS;

/** Returns the settlement that puts a row back into the queue unchanged, due again after `forMs` milliseconds. */
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

const notSent: SendFailure = {
  outcome: 'transient',
  blames: 'message',
  errorCode: 'attempt_not_recorded',
  errorMessage: 'The attempt was not recorded, so the message was not sent.',
};

/** The outcome is `unknown` because the message may have been sent before the error. */
const unexpected = (error: Error): SendFailure => ({
  outcome: 'unknown',
  blames: 'provider',
  errorCode: 'provider_error',
  errorMessage: `The provider failed unexpectedly (${error.name}).`,
});
