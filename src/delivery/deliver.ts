import type { Provider, SendResult } from '../channels/channel.ts';
import type { ClaimedLog } from './claim.ts';
import type { Plan } from './plan.ts';
import { nextRetryDelay, type RetryPolicy } from './retry.ts';
import type { Settlement } from './settle.ts';

export interface SendOptions {
  retry: RetryPolicy;
  /** A provider that has not answered so long after it was handed a message has failed, transiently. Milliseconds. */
  timeoutMs: number;
}

/** Hands one message to its provider and says how the row is to be settled. Never rejects. */
export async function deliver(
  log: ClaimedLog,
  plan: Extract<Plan, { kind: 'send' }>,
  provider: Pick<Provider, 'send'>,
  { retry, timeoutMs }: SendOptions,
): Promise<Settlement> {
  const startedAt = performance.now();
  const result = await provider
    .send(plan.message, plan.provider.config, { timeoutMs, isTrusted: plan.provider.origin !== 'database' })
    .catch((error: Error): SendResult => ({
      outcome: 'transient',
      blames: 'provider',
      errorCode: 'provider_error',
      errorMessage: `The provider failed unexpectedly (${error.name}).`,
    }));
  const base = { log, channel: plan.channel, template: plan.template };
  const durationMs = Math.round(performance.now() - startedAt);

  if (result.outcome === 'ok') {
    const { providerMessageId } = result;
    return {
      ...base,
      status: 'sent',
      attempt: { outcome: 'ok', durationMs, ...(providerMessageId === undefined ? {} : { providerMessageId }) },
    };
  }
  const { outcome, errorCode, errorMessage } = result;
  const failure = { ...base, errorCode, errorMessage, attempt: { outcome, durationMs } };
  const retryAfterMs = 'retryAfterMs' in result ? result.retryAfterMs : undefined;
  const retryInMs =
    outcome === 'transient' ? nextRetryDelay(retry, log.attempts, Math.random(), retryAfterMs) : undefined;
  return retryInMs === undefined ? { ...failure, status: 'failed' } : { ...failure, status: 'retrying', retryInMs };
}
