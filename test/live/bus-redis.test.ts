import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

import { Redis } from 'ioredis';
import { afterEach, describe, expect, inject, it } from 'vitest';

import type { Bus } from '../../src/live/bus.ts';
import { redisBus } from '../../src/live/bus-redis.ts';
import { createLog } from '../../src/log.ts';
import { eventually } from '../support/eventually.ts';
import { type TcpProxy, tcpProxy } from '../support/tcp-proxy.ts';

const log = createLog('silent');

describe('the bus over Redis', () => {
  const open: (Bus | TcpProxy)[] = [];
  const bus = (url: string): Bus => {
    const opened = redisBus({ urls: [url], log });
    open.push(opened);
    return opened;
  };
  afterEach(async () => {
    for (const part of open.splice(0)) await ('shut' in part ? part.shut() : part.close());
  });
  const proxyToRedis = async (): Promise<TcpProxy> => {
    const target = new URL(inject('redisUrl'));
    const proxy = await tcpProxy(target.hostname, Number(target.port || 6379));
    open.push(proxy);
    return proxy;
  };

  it('keeps every subscription that was requested while it was connecting', async () => {
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
      const proxy = await proxyToRedis();
      const receiver = bus(`redis://127.0.0.1:${proxy.port}`);
      const heard = new Set<number>();
      let asked = 0;
      let ready = 0;
      // Spread over the whole time of connecting and reconnecting.
      for (const isAgain of [false, true]) {
        if (isAgain) {
          await proxy.shut();
          await proxy.open();
        }
        const goal = asked + 100;
        while (asked < goal || ready === 0) {
          const number = asked++;
          receiver.subscribe(
            `test:${proxy.port}:${number}`,
            () => heard.add(number),
            () => ready++,
          );
          await new Promise((resolve) => setImmediate(resolve));
        }
      }
      await eventually(() => {
        for (let number = 0; number < asked; number++) sender.publish(`test:${proxy.port}:${number}`, null);
        return heard.size === asked;
      }, 'every topic');
      expect(heard.size).toBe(asked);
    }
  });

  it('reports a gap after it has resubscribed, not earlier', async () => {
    const target = new URL(inject('redisUrl'));
    const sockets: Socket[] = [];
    const held: (() => void)[] = [];
    let isHolding = false;
    // Holds back SUBSCRIBE and everything after it.
    const server = createServer((socket) => {
      const onward = connect(Number(target.port || 6379), target.hostname);
      sockets.push(socket);
      for (const end of [socket, onward]) end.on('error', () => {});
      socket.on('close', () => onward.destroy());
      onward.pipe(socket);
      let isHeld = false;
      socket.on('data', (chunk) => {
        isHeld = isHolding && (isHeld || chunk.includes('subscribe'));
        if (isHeld) held.push(() => onward.write(chunk));
        else onward.write(chunk);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const receiver = bus(`redis://127.0.0.1:${port}`);
    const heard: unknown[] = [];
    receiver.onGap(() => heard.push('gap'));
    receiver.subscribe(
      `test:${port}`,
      (message) => heard.push(message),
      () => heard.push('ready'),
    );
    await eventually(() => heard.length > 0, 'the subscription');
    isHolding = true;
    for (const socket of sockets) socket.destroy();
    await eventually(() => held.length > 0, 'the next subscription');
    const sender = new Redis(inject('redisUrl'));
    await sender.publish(`test:${port}`, '"missed"');
    expect(heard).toEqual(['ready']);
    for (const release of held) release();
    isHolding = false;
    await eventually(() => heard.includes('gap'), 'the gap');
    await sender.publish(`test:${port}`, '"heard"');
    await eventually(() => heard.includes('heard'), 'the next message');
    sender.disconnect();
    expect(heard).toEqual(['ready', 'gap', 'heard']);
    await receiver.close();
    server.close();
  });

  it('calls the other listeners when one throws', async () => {
    const both = bus(inject('redisUrl'));
    const topic = `test:${crypto.randomUUID()}`;
    const [heard, failed] = [[] as unknown[], [] as unknown[]];
    both.subscribe(topic, (message) => {
      failed.push(message);
      throw new Error('listener failed');
    });
    both.subscribe(topic, (message) => heard.push(message));
    await eventually(() => {
      both.publish(topic, 1);
      return failed.length > 1;
    }, 'the messages');
    both.publish(topic, 'last');
    await eventually(() => failed.includes('last'), 'the last');
    expect(heard).toEqual(failed);
  });

  it('can be closed during an outage of Redis while subscriptions are waiting', async () => {
    const proxy = await proxyToRedis();
    await proxy.shut();
    const away = bus(`redis://127.0.0.1:${proxy.port}`);
    const end = away.subscribe('test:away', () => {});
    end();
    away.subscribe('test:away-too', () => {});
    await expect(away.ping()).rejects.toThrow('enableOfflineQueue');
    await away.close();
  });
});
