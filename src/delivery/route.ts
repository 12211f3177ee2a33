import type { SendFailure } from '../channels/send-result.ts';
import type { Channel } from '../intake/channel.ts';
import type { EventPolicy } from '../tenants/policies.ts';
import { backoff, type RetryPolicy } from './retry.ts';

/**
 * A delivery's way through channels and providers.
 *
 *     route    email ───────────────► sms ──────────► in_app        one step to the next when a channel has failed
 *     step     smtp-a ► smtp-b ► …    twilio ► …                    one provider to the next at once; a round later
 *                  ▲        │                                       the first again, after a backoff
 *                  └────────┘
 */
export interface Position {
  /** Index of the channel in use. */
  step: number;
  /** Attempts through this channel, the last one included. */
  stepAttempts: number;
  /** The provider of the last attempt. */
  provider: string;
  /** Providers of this channel that refused for good. */
  excludedProviders: readonly string[];
}

export type Move =
  /** Once more through the same channel, perhaps through another provider. */
  | { kind: 'retry'; delayMs: number; provider: string; excludedProviders: string[] }
  | { kind: 'next_channel' }
  /** Nothing is left to try. `expired` where only its time was too short. */
  | { kind: 'end'; status: 'failed' | 'expired' };

export interface MoveContext {
  /** Providers of the channel, in failover order. */
  providers: readonly string[];
  retry: RetryPolicy;
  /** Since the event was due. Milliseconds. */
  elapsedMs: number;
  /** Until the event expires; infinite where it does not. Milliseconds. */
  remainingMs: number;
  hasNextChannel: boolean;
  /** In [0, 1). */
  random: number;
}

/**
 * What comes after an attempt that failed. Pure.
 *
 * - What the recipient or the message is to blame for fails with every provider: the next channel.
 * - A provider that refuses for good is left out, and the next one takes its place at once.
 * - A transient failure goes to the next provider at once; when all had their turn, the first waits for the backoff.
 * - `unknown` may have been delivered. It is tried again, since what is lost cannot be mended and what is doubled can be
 *   told by its idempotency key; and by the provider that may know that key already.
 * - A retry that would come after the deadline or after the event expires is not waited for: the next channel.
 */
export function afterFailure(position: Position, failure: SendFailure, context: MoveContext): Move {
  const { providers, retry } = context;
  const isForGood = failure.outcome === 'permanent';
  const excluded = [...position.excludedProviders];
  if (isForGood && failure.blames === 'provider') excluded.push(position.provider);
  const left = providers.filter((provider) => !excluded.includes(provider));
  const canRepeat = !isForGood || failure.blames === 'provider';
  let isTooLate = false;

  if (canRepeat && left.length > 0 && position.stepAttempts < retry.maxAttempts) {
    const provider = nextProvider(providers, left, position.provider, failure.outcome === 'unknown');
    const isNewRound = providers.indexOf(provider) <= providers.indexOf(position.provider);
    const round = Math.ceil(position.stepAttempts / left.length);
    // Only the provider that asked for a pause is to be given it.
    const pauseMs = provider === position.provider ? failure.retryAfterMs : 0;
    const delayMs = isNewRound ? backoff(retry, round, context.random, pauseMs) : 0;
    isTooLate = delayMs >= context.remainingMs;
    if (!isTooLate && context.elapsedMs + delayMs <= retry.deadlineMs) {
      return { kind: 'retry', delayMs, provider, excludedProviders: excluded };
    }
  }
  if (context.hasNextChannel) return { kind: 'next_channel' };
  return { kind: 'end', status: isTooLate ? 'expired' : 'failed' };
}

function nextProvider(all: readonly string[], left: string[], last: string, mustStay: boolean): string {
  if (mustStay && left.includes(last)) return last;
  const lastIndex = all.indexOf(last);
  return left.find((provider) => all.indexOf(provider) > lastIndex) ?? (left[0] as string);
}

/** Channels for a person whose event names none and whose tenant has no policy for it. */
const DEFAULT_ORDER: readonly Channel[] = ['email', 'push', 'sms', 'zalo', 'webhook', 'in_app'];

/** Every channel that a delivery may come to use, in order. */
export function candidateChannels(named: readonly Channel[], policy: EventPolicy | undefined): readonly Channel[] {
  const fallback = policy?.channels ?? [];
  if (named.length > 0) return [...named, ...fallback.filter((channel) => !named.includes(channel))];
  return fallback.length > 0 ? fallback : DEFAULT_ORDER;
}

export interface RouteOptions {
  /** As the event names them. */
  named: readonly Channel[];
  policy: EventPolicy | undefined;
  hasAddress: (channel: Channel) => boolean;
  hasTemplate: (channel: Channel) => boolean;
}

/**
 * The channels of one delivery, in order: those that the event names, then those of the tenant's policy, as far as the
 * person has an address there. Where the event leaves the choice, a channel without a template is no choice; and where
 * nobody has a policy, there is one channel and no fallback.
 */
export function routeOf({ named, policy, hasAddress, hasTemplate }: RouteOptions): Channel[] {
  const reachable = candidateChannels(named, policy).filter(hasAddress);
  if (named.length > 0) return reachable;
  const usable = reachable.filter(hasTemplate);
  const chosen = usable.length > 0 ? usable : reachable.slice(0, 1);
  return policy?.channels ? chosen : chosen.slice(0, 1);
}
