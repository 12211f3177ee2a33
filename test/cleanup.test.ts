import { describe, expect, it } from 'vitest';

import { CleanupStack } from '../src/cleanup.ts';

describe('CleanupStack', () => {
  it('runs the functions one after another in reverse order', async () => {
    const order: string[] = [];
    {
      await using stack = new CleanupStack();
      for (const name of ['a', 'b', 'c']) {
        stack.defer(async () => {
          order.push(`${name} begins`);
          await Promise.resolve();
          order.push(`${name} ends`);
        });
      }
    }
    expect(order).toEqual(['c begins', 'c ends', 'b begins', 'b ends', 'a begins', 'a ends']);
  });

  it('runs every function although some fail, and throws the first failure', async () => {
    const order: string[] = [];
    const stack = new CleanupStack();
    stack.defer(() => order.push('last'));
    stack.defer(() => Promise.reject(new Error('second')));
    stack.defer(() => {
      throw new Error('first');
    });
    await expect(stack[Symbol.asyncDispose]()).rejects.toThrow('first');
    expect(order).toEqual(['last']);
  });

  it('runs moved functions when the new stack is disposed of, and only once', async () => {
    const order: string[] = [];
    let moved: CleanupStack;
    {
      await using stack = new CleanupStack();
      stack.defer(() => order.push('closed'));
      moved = stack.move();
    }
    expect(order).toEqual([]);
    await moved[Symbol.asyncDispose]();
    await moved[Symbol.asyncDispose]();
    expect(order).toEqual(['closed']);
  });
});
