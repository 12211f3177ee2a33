import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { maskAddress } from '../../src/intake/mask.ts';
import { backoff } from '../../src/delivery/retry.ts';
import { isTerminal, LOG_STATUSES } from '../../src/delivery/status.ts';

describe('backoff', () => {
  const policy = { baseDelayMs: 1_000, maxDelayMs: 6_000 };

  it('is random below a limit that doubles up to its maximum', () => {
    expect([1, 2, 3, 4].map((round) => backoff(policy, round, 0.999_999))).toEqual([1_000, 2_000, 4_000, 6_000]);
    expect(backoff(policy, 3, 0)).toBe(0);
  });

  it('never exceeds the maximum', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2_000 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (round, random) => {
          const delay = backoff(policy, round, random);
          return delay >= 0 && delay <= policy.maxDelayMs;
        },
      ),
    );
  });

  it('is not shorter than Retry-After', () => {
    expect(backoff(policy, 1, 0.5, 30_000)).toBe(30_000);
    expect(backoff(policy, 4, 0.9, 10)).toBe(5_400);
  });
});

describe('masking', () => {
  it.each([
    ['student@example.edu.vn', 's***@example.edu.vn'],
    ['+84912345678', '+84***78'],
    ['https://hooks.example.com/in?key=secret', 'https://hooks.example.com/***'],
    ['fcm-token-1234567890', 'fcm-***'],
    ['user-1', '***'],
    ['😀@x.test', '😀***@x.test'],
    ['abc😀-token-1', 'abc😀***'],
  ])('shows %s as %s', (address, masked) => {
    expect(maskAddress(address)).toBe(masked);
  });
});

describe('statuses', () => {
  it('are each either open or terminal', () => {
    expect(LOG_STATUSES.filter((status) => !isTerminal(status))).toEqual(['queued', 'sending', 'retrying']);
  });
});
