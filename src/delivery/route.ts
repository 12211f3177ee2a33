import type { SendFailure } from '../channels/send-result.ts';
import type { Channel } from '../intake/channel.ts';
import type { EventPolicy } from '../tenants/policies.ts';
import { backoff, type RetryPolicy } from './retry.ts';

/**
 * Position of a delivery in its route of channels and providers.
 *
 *     route    email ───────────────► sms ──────────► in_app        one step to the next when a channel has failed
 *     step     smtp-a ► smtp-b ► …    twilio ► …                    one provider to the next at once; a round later
 *                  ▲        │                                       the first again, after a backoff
 *                  └────────┘
 */
export interface Position {
  /** Index of the channel in use. */
  step: number;
  /** Number of attempts through this channel, including the last one. */
  stepAttempts: number;
  /** The provider of the last attempt. */
  provider: string;
  /** Providers of this channel that failed permanently. */
  excludedProviders: readonly string[];
}

export type Move =
  /** Again through the same channel, possibly with another provider. */
  | { kind: 'retry'; delayMs: number; provider: string; excludedProviders: string[] }
  | { kind: 'next_channel' }
  /** An earlier attempt may have delivered the message, and `retry.maxUnknown` allows no further one. */
  | { kind: 'in_doubt' }
  /** No channel or provider is left. `expired` if a retry would come after the event expires. */
  | { kind: 'end'; status: 'failed' | 'expired' };

export interface MoveContext {
  /** Providers of the channel, in failover order. */
  providers: readonly string[];
  retry: RetryPolicy;
  /** Time since the event was due, in milliseconds. */
  elapsedMs: number;
  /** Time until the event expires, in milliseconds; infinite if it does not expire. */
  remainingMs: number;
  hasNextChannel: boolean;
  /** Number of attempts after the first one with an unknown outcome; null if every outcome is known. */
  attemptsSinceUnknown: number | null;
  /** In [0, 1). */
  random: number;
}

/**
 * Returns the next step after a failed attempt. Pure.
 *
 * - A permanent failure caused by the recipient or the message fails with every provider: next channel.
 * - A permanent failure of the provider excludes it: next provider at once.
 * - A transient failure: next provider at once. After the last provider, the first one again after a backoff.
 * - After an `unknown` outcome the message may have been delivered. `retry.maxUnknown` further attempts follow, because a
 *   lost message cannot be recovered, while a duplicate carries the same idempotency key and can be detected. They use the
 *   same provider, since it may know the key, and no other channel.
 * - A retry that would come after the deadline or the expiry of the event: next channel.
 */
export function afterFailure(position: Position, failure: SendFailure, context: MoveContext): Move {
  const { providers, retry, attemptsSinceUnknown } = context;
  const isInDoubt = attemptsSinceUnknown !== null;
  if (isInDoubt && attemptsSinceUnknown >= retry.maxUnknown) return { kind: 'in_doubt' };
  const isPermanent = failure.outcome === 'permanent';
  const excluded = [...position.excludedProviders];
  if (isPermanent && failure.blames === 'provider') excluded.push(position.provider);
  const left = providers.filter((provider) => !excluded.includes(provider));
  const canRepeat = !isPermanent || failure.blames === 'provider';
  let isTooLate = false;

  if (canRepeat && left.length > 0 && position.stepAttempts < retry.maxAttempts) {
    const provider = nextProvider(providers, left, position.provider, isInDoubt || failure.outcome === 'unknown');
    const isNewRound = providers.indexOf(provider) <= providers.indexOf(position.provider);
    const round = Math.ceil(position.stepAttempts / left.length);
    // `Retry-After` applies only to the provider that sent it.
    const pauseMs = provider === position.provider ? failure.retryAfterMs : 0;
    const delayMs = isNewRound ? backoff(retry, round, context.random, pauseMs) : 0;
    isTooLate = delayMs >= context.remainingMs;
    if (!isTooLate && context.elapsedMs + delayMs <= retry.deadlineMs) {
      return { kind: 'retry', delayMs, provider, excludedProviders: excluded };
    }
  }
  if (isInDoubt) return { kind: 'in_doubt' };
  if (context.hasNextChannel) return { kind: 'next_channel' };
  return { kind: 'end', status: isTooLate ? 'expired' : 'failed' };
}

function nextProvider(all: readonly string[], left: string[], last: string, mustStay: boolean): string {
  if (mustStay && left.includes(last)) return last;
  const lastIndex = all.indexOf(last);
  return left.find((provider) => all.indexOf(provider) > lastIndex) ?? (left[0] as string);
}

/** Order of channels for events that name no channels in tenants without a policy for them. */
const DEFAULT_ORDER: readonly Channel[] = ['email', 'push', 'sms', 'zalo', 'webhook', 'in_app'];

/** Returns all channels that a delivery may use, in order. */
export function candidateChannels(named: readonly Channel[], policy: EventPolicy | undefined): readonly Channel[] {
  const fallback = policy?.channels ?? [];
  if (named.length > 0) return [...named, ...fallback.filter((channel) => !named.includes(channel))];
  return fallback.length > 0 ? fallback : DEFAULT_ORDER;
}

export interface RouteOptions {
  /** Channels that the event names. */
  named: readonly Channel[];
  policy: EventPolicy | undefined;
  hasAddress: (channel: Channel) => boolean;
  hasTemplate: (channel: Channel) => boolean;
}

/**
 * Returns the channels of one delivery, in order: those that the event names, then those of the tenant's policy. Channels
 * for which the recipient has no address are left out. If the event names no channels, those without a template are left
 * out too. Without a policy as well, the route has one channel and no fallback.
 */
export function routeOf({ named, policy, hasAddress, hasTemplate }: RouteOptions): Channel[] {
  const reachable = candidateChannels(named, policy).filter(hasAddress);
  if (named.length > 0) return reachable;
  const usable = reachable.filter(hasTemplate);
  const chosen = usable.length > 0 ? usable : reachable.slice(0, 1);
  return policy?.channels ? chosen : chosen.slice(0, 1);
}
