import { afterEach, describe, expect, inject, it } from 'vitest';

import type { Bus } from '../../src/live/bus.ts';
import { redisBus } from '../../src/live/bus-redis.ts';
import { createLog } from '../../src/log.ts';
import { eventually } from '../support/eventually.ts';
import { type TcpDoor, tcpDoor } from '../support/tcp-door.ts';

const log = createLog('silent');

describe('the bus over Redis', () => {
  const open: (Bus | TcpDoor)[] = [];
  const bus = (url: string): Bus => {
    const opened = redisBus({ urls: [url], log });
    open.push(opened);
    return opened;
  };
  afterEach(async () => {
    for (const part of open.splice(0)) await ('shut' in part ? part.shut() : part.close());
  });
  const doorToRedis = async (): Promise<TcpDoor> => {
    const target = new URL(inject('redisUrl'));
    const door = await tcpDoor(target.hostname, Number(target.port || 6379));
    open.push(door);
    return door;
  };

  it('keeps every subscription that was asked for while a connection was being made', async () => {
    const sender = bus(inject('redisUrl'));
    await eventually(
      () =>
        sender.ping().then(
          () => true,
          () => false,
        ),
      'the sender',
    );
    for (let round = 0; round < 10; round++) {
      const door = await doorToRedis();
      const receiver = bus(`redis://127.0.0.1:${door.port}`);
      const heard = new Set<number>();
      let asked = 0;
      let ready = 0;
      // Across the whole time of connecting, and of connecting again after a cut.
      for (const isAgain of [false, true]) {
        if (isAgain) {
          await door.shut();
          await door.open();
        }
        const goal = asked + 100;
        while (asked < goal || ready === 0) {
          const number = asked++;
          receiver.subscribe(
            `test:${door.port}:${number}`,
            () => heard.add(number),
            () => ready++,
          );
          await new Promise((resolve) => setImmediate(resolve));
        }
      }
      await eventually(() => {
        for (let number = 0; number < asked; number++) sender.publish(`test:${door.port}:${number}`, null);
        return heard.size === asked;
      }, 'every topic');
      expect(heard.size).toBe(asked);
    }
  });

  it('can be closed while Redis is away and subscriptions wait for it', async () => {
    const door = await doorToRedis();
    await door.shut();
    const away = bus(`redis://127.0.0.1:${door.port}`);
    const end = away.subscribe('test:away', () => {});
    end();
    away.subscribe('test:away-too', () => {});
    await expect(away.ping()).rejects.toThrow('enableOfflineQueue');
    await away.close();
  });
});
