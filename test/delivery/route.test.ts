import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { SendFailure } from '../../src/channels/send-result.ts';
import {
  afterFailure,
  candidateChannels,
  type Move,
  type MoveContext,
  type Position,
  routeOf,
} from '../../src/delivery/route.ts';
import { CHANNELS } from '../../src/intake/channel.ts';

const failure = (changes: Partial<SendFailure> = {}): SendFailure => ({
  outcome: 'transient',
  blames: 'provider',
  errorCode: 'x',
  errorMessage: 'x',
  ...changes,
});
const retry = { maxAttempts: 6, baseDelayMs: 1_000, maxDelayMs: 60_000, deadlineMs: 3_600_000, maxUnknown: 1 };
const context = (changes: Partial<MoveContext> = {}): MoveContext => ({
  providers: ['a'],
  retry,
  elapsedMs: 0,
  remainingMs: Number.POSITIVE_INFINITY,
  hasNextChannel: false,
  attemptsSinceUnknown: null,
  random: 0.5,
  ...changes,
});
const at = (stepAttempts: number, provider = 'a', excludedProviders: string[] = []): Position => ({
  step: 0,
  stepAttempts,
  provider,
  excludedProviders,
});

describe('after a failure', () => {
  it('retries the same provider after a delay when there is no other', () => {
    expect(afterFailure(at(1), failure(), context())).toMatchObject({ kind: 'retry', provider: 'a', delayMs: 500 });
    expect(afterFailure(at(3), failure(), context())).toMatchObject({ kind: 'retry', provider: 'a', delayMs: 2_000 });
  });

  it('tries the next provider immediately, and after all of them waits for the first', () => {
    const two = context({ providers: ['a', 'b'] });
    expect(afterFailure(at(1, 'a'), failure(), two)).toMatchObject({ kind: 'retry', provider: 'b', delayMs: 0 });
    expect(afterFailure(at(2, 'b'), failure(), two)).toMatchObject({ kind: 'retry', provider: 'a', delayMs: 500 });
    expect(afterFailure(at(4, 'b'), failure(), two)).toMatchObject({ kind: 'retry', provider: 'a', delayMs: 1_000 });
  });

  it('excludes a provider that refused permanently', () => {
    const refused = failure({ outcome: 'permanent' });
    const two = context({ providers: ['a', 'b'], hasNextChannel: true });
    expect(afterFailure(at(1, 'a'), refused, two)).toEqual({
      kind: 'retry',
      provider: 'b',
      delayMs: 0,
      excludedProviders: ['a'],
    });
    expect(afterFailure(at(2, 'b', ['a']), refused, two)).toEqual({ kind: 'next_channel' });
  });

  it('does not retry a failure of the recipient or the message', () => {
    for (const blames of ['recipient', 'message'] as const) {
      const hopeless = failure({ outcome: 'permanent', blames });
      const two = { providers: ['a', 'b'] };
      expect(afterFailure(at(1), hopeless, context(two))).toEqual({ kind: 'end', status: 'failed' });
      expect(afterFailure(at(1), hopeless, context({ ...two, hasNextChannel: true }))).toEqual({
        kind: 'next_channel',
      });
    }
  });

  it('retries with the provider that may already have the message', () => {
    const inDoubt = failure({ outcome: 'unknown' });
    expect(afterFailure(at(1), inDoubt, context({ providers: ['a', 'b'] }))).toMatchObject({
      kind: 'retry',
      provider: 'a',
      delayMs: 500,
    });
  });

  it('allows `maxUnknown` attempts after an unknown outcome, through the same provider, and then gives up in doubt', () => {
    const two = { providers: ['a', 'b'], hasNextChannel: true };
    for (const outcome of ['unknown', 'transient'] as const) {
      const after = (attemptsSinceUnknown: number, maxUnknown: number) =>
        afterFailure(
          at(2),
          failure({ outcome }),
          context({ ...two, attemptsSinceUnknown, retry: { ...retry, maxUnknown } }),
        );
      expect(after(0, 1)).toMatchObject({ kind: 'retry', provider: 'a' });
      expect(after(1, 1)).toEqual({ kind: 'in_doubt' });
      expect(after(0, 0)).toEqual({ kind: 'in_doubt' });
      expect(after(2, 3)).toMatchObject({ kind: 'retry', provider: 'a' });
    }
  });

  it('uses no other channel after an unknown outcome, since the message may have been delivered', () => {
    const inDoubt = context({ hasNextChannel: true, attemptsSinceUnknown: 1, retry: { ...retry, maxUnknown: 5 } });
    const hopeless = failure({ outcome: 'permanent', blames: 'recipient' });
    expect(afterFailure(at(2), hopeless, inDoubt)).toEqual({ kind: 'in_doubt' });
    expect(afterFailure(at(6), failure(), inDoubt)).toEqual({ kind: 'in_doubt' });
  });

  it('respects Retry-After only for the provider that sent it', () => {
    const busy = failure({ retryAfterMs: 30_000 });
    expect(afterFailure(at(1), busy, context())).toMatchObject({ delayMs: 30_000 });
    expect(afterFailure(at(1), busy, context({ providers: ['a', 'b'] }))).toMatchObject({ provider: 'b', delayMs: 0 });
  });

  it('does not wait beyond the deadline or the expiry of the event', () => {
    const busy = failure({ retryAfterMs: 30_000 });
    expect(afterFailure(at(1), busy, context({ elapsedMs: 3_580_000 }))).toEqual({ kind: 'end', status: 'failed' });
    expect(afterFailure(at(1), busy, context({ remainingMs: 20_000 }))).toEqual({ kind: 'end', status: 'expired' });
    const more = { remainingMs: 20_000, hasNextChannel: true };
    expect(afterFailure(at(1), busy, context(more))).toEqual({ kind: 'next_channel' });
  });

  const anyFailure = fc.record({
    outcome: fc.constantFrom('transient', 'permanent', 'unknown'),
    blames: fc.constantFrom('provider', 'recipient', 'message'),
    retryAfterMs: fc.option(fc.integer({ min: 0, max: 100_000 }), { nil: undefined }),
  });
  const anyProviders = fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { minLength: 1 });

  it('ends after a bounded number of attempts in all cases', () => {
    fc.assert(
      fc.property(
        anyProviders,
        fc.array(anyFailure, { minLength: 40, maxLength: 40 }),
        fc.integer({ min: 1, max: 10 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (providers, failures, maxAttempts, random) => {
          let position: Position = at(1, providers[0]);
          let now = 0;
          for (const [index, kind] of failures.entries()) {
            const moved: Move = afterFailure(
              position,
              failure(kind as Partial<SendFailure>),
              context({ providers, random, elapsedMs: now, retry: { ...retry, maxAttempts } }),
            );
            if (moved.kind !== 'retry') return index < maxAttempts;
            expect(providers).toContain(moved.provider);
            expect(moved.excludedProviders).not.toContain(moved.provider);
            expect(moved.delayMs).toBeGreaterThanOrEqual(0);
            expect(moved.delayMs).toBeLessThanOrEqual(Math.max(retry.maxDelayMs, kind.retryAfterMs ?? 0));
            now += moved.delayMs;
            expect(now).toBeLessThanOrEqual(retry.deadlineMs);
            position = { ...position, ...moved, stepAttempts: position.stepAttempts + 1 };
          }
          return false;
        },
      ),
    );
  });

  it('tries every provider once before any of them twice', () => {
    fc.assert(
      fc.property(anyProviders, (providers) => {
        const order: (string | undefined)[] = [providers[0]];
        let position = at(1, providers[0]);
        while (order.length < providers.length * 2) {
          const moved = afterFailure(position, failure(), context({ providers, retry: { ...retry, maxAttempts: 99 } }));
          if (moved.kind !== 'retry') return false;
          order.push(moved.provider);
          position = { ...position, ...moved, stepAttempts: position.stepAttempts + 1 };
        }
        expect(order).toEqual([...providers, ...providers]);
        return true;
      }),
    );
  });
});

describe('a route', () => {
  const options = { policy: undefined, hasAddress: () => true, hasTemplate: () => true };

  it('consists of the channels of the event, then those of the policy', () => {
    const policy = { channels: ['email', 'sms', 'in_app'] as const };
    expect(routeOf({ ...options, named: ['sms'], policy: { channels: [...policy.channels] } })).toEqual([
      'sms',
      'email',
      'in_app',
    ]);
    expect(routeOf({ ...options, named: [], policy: { channels: [...policy.channels] } })).toEqual(policy.channels);
  });

  it('has one channel and no fallback without a policy', () => {
    expect(routeOf({ ...options, named: [] })).toEqual(['email']);
    expect(routeOf({ ...options, named: [], hasAddress: (channel) => channel === 'sms' })).toEqual(['sms']);
    expect(routeOf({ ...options, named: [], hasTemplate: (channel) => channel === 'in_app' })).toEqual(['in_app']);
    expect(routeOf({ ...options, named: [], hasTemplate: () => false })).toEqual(['email']);
  });

  it('contains no channel twice and no channel without an address of the recipient', () => {
    const channels = fc.uniqueArray(fc.constantFrom(...CHANNELS));
    fc.assert(
      fc.property(channels, channels, channels, (named, policy, reachable) => {
        const route = routeOf({
          named,
          policy: policy.length > 0 ? { channels: policy } : undefined,
          hasAddress: (channel) => reachable.includes(channel),
          hasTemplate: () => true,
        });
        expect(new Set(route).size).toBe(route.length);
        expect(route.every((channel) => reachable.includes(channel))).toBe(true);
        const candidates = candidateChannels(named, policy.length > 0 ? { channels: policy } : undefined);
        expect(route.every((channel) => candidates.includes(channel))).toBe(true);
      }),
    );
  });
});
