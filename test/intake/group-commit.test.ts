import { describe, expect, it } from 'vitest';

import { AppError } from '../../src/errors.ts';
import { createGroupCommit } from '../../src/intake/group-commit.ts';

/** A database that holds every transaction until the test commits it or lets it fail. */
function heldTransactions() {
  const transactions: { items: string[]; commit: () => void; fail: (error: Error) => void }[] = [];
  const write = (items: string[]): Promise<string[]> =>
    new Promise((resolve, reject) => {
      transactions.push({ items, commit: () => resolve(items.map((item) => `stored ${item}`)), fail: reject });
    });
  /** Waits until this number of transactions has begun. */
  const begun = async (count: number): Promise<void> => {
    while (transactions.length < count) await new Promise((resolve) => setImmediate(resolve));
  };
  return { transactions, write, begun };
}

const outage = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
const unavailable = expect.objectContaining({ code: 'unavailable' });

describe('createGroupCommit', () => {
  it('writes the requests that arrive during a transaction together, and returns each request its own results', async () => {
    const { transactions, write, begun } = heldTransactions();
    const groups = createGroupCommit({ write, writeRequest: write });
    const first = groups.add('a', ['1']);
    await begun(1);
    const second = groups.add('a', ['2', '3']);
    const third = groups.add('b', ['4']);
    transactions[0]?.commit();
    await begun(2);
    transactions[1]?.commit();
    expect(await Promise.all([first, second, third])).toEqual([['stored 1'], ['stored 2', 'stored 3'], ['stored 4']]);
    expect(transactions.map(({ items }) => items)).toEqual([['1'], ['2', '3', '4']]);
  });

  it('starts another transaction when the running one is slow', async () => {
    const { transactions, write, begun } = heldTransactions();
    const groups = createGroupCommit({ write, writeRequest: write });
    const slow = groups.add('a', ['1']);
    await begun(1);
    const next = groups.add('a', ['2']);
    await begun(2);
    transactions[1]?.commit();
    expect(await next).toEqual(['stored 2']);
    transactions[0]?.commit();
    expect(await slow).toEqual(['stored 1']);
  });

  it('gives a tenant with one request its turn before another tenant with many', async () => {
    const { transactions, write, begun } = heldTransactions();
    const groups = createGroupCommit({ write, writeRequest: write });
    void groups.add('a', ['first']);
    await begun(1);
    const flood = Array.from({ length: 8 }, () =>
      groups.add(
        'flood',
        Array.from({ length: 100 }, () => 'flood'),
      ),
    );
    const other = groups.add('b', ['other']);
    await begun(2);
    expect(transactions[1]?.items.filter((item) => item === 'other')).toHaveLength(1);
    expect(transactions[1]?.items.length).toBeLessThanOrEqual(500);
    while (transactions.length > 0) {
      transactions.shift()?.commit();
      await new Promise((resolve) => setImmediate(resolve));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await groups.drain();
    expect(await other).toEqual(['stored other']);
    expect((await Promise.all(flood)).flat()).toHaveLength(800);
  });

  it('divides a group that fails, so that only the request that causes the failure fails', async () => {
    const write = async (items: string[]): Promise<string[]> => {
      if (items.includes('bad')) throw new RangeError('Invalid string length');
      return items;
    };
    const groups = createGroupCommit({ write, writeRequest: write });
    const results = await Promise.allSettled(['1', '2', 'bad', '3', '4', '5'].map((item) => groups.add('a', [item])));
    expect(results.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'fulfilled',
      'fulfilled',
      'fulfilled',
    ]);
    expect(results[2]).toMatchObject({ reason: expect.any(RangeError) });
  });

  it('rejects every request of a group during an outage, without writing them again', async () => {
    const { transactions, write, begun } = heldTransactions();
    const groups = createGroupCommit({ write, writeRequest: write });
    const results = Promise.allSettled(['1', '2', '3'].map((item) => groups.add('a', [item])));
    await begun(1);
    transactions[0]?.fail(outage);
    expect(await results).toEqual(Array.from({ length: 3 }, () => ({ status: 'rejected', reason: outage })));
    expect(transactions).toHaveLength(1);
  });

  it('refuses a tenant that has half of the waiting items, and accepts another tenant', async () => {
    const { transactions, write, begun } = heldTransactions();
    const groups = createGroupCommit({ write, writeRequest: write, maxWaiting: 4 });
    const accepted = [groups.add('a', ['1'])];
    await begun(1);
    accepted.push(groups.add('a', ['2', '3']));
    await expect(groups.add('a', ['4'])).rejects.toEqual(unavailable);
    accepted.push(groups.add('b', ['5', '6']));
    await expect(groups.add('c', ['7'])).rejects.toEqual(unavailable);
    transactions[0]?.commit();
    await begun(2);
    transactions[1]?.commit();
    await Promise.all(accepted);
    expect(transactions.flatMap(({ items }) => items).toSorted()).toEqual(['1', '2', '3', '5', '6']);
  });

  it('refuses a request that waits for too long, and never writes it', async () => {
    const { transactions, write, begun } = heldTransactions();
    const groups = createGroupCommit({ write, writeRequest: write, maxWaitMs: 100 });
    // Four transactions may run at once.
    const running = [];
    for (const number of [1, 2, 3, 4]) {
      running.push(groups.add('a', [`${number}`]));
      await begun(number);
    }
    const late = groups.add('a', ['late']);
    await expect(late).rejects.toBeInstanceOf(AppError);
    await expect(late).rejects.toEqual(unavailable);
    for (const { commit } of transactions) commit();
    await Promise.all(running);
    await groups.drain();
    expect(transactions.flatMap(({ items }) => items)).toEqual(['1', '2', '3', '4']);
  });

  it('resolves `drain` after the last waiting request is written', async () => {
    const { transactions, write, begun } = heldTransactions();
    const groups = createGroupCommit({ write, writeRequest: write });
    const events: string[] = [];
    void groups.add('a', ['1']).then(() => events.push('first'));
    await begun(1);
    void groups.add('a', ['2']).then(() => events.push('second'));
    const drained = groups.drain().then(() => events.push('drained'));
    transactions[0]?.commit();
    await begun(2);
    transactions[1]?.commit();
    await drained;
    expect(events).toEqual(['first', 'second', 'drained']);
  });
});
