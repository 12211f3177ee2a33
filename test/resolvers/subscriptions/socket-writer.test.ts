import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import {
  createSocketWriter,
  frameHeader,
  type SocketWriter,
  type SocketWriterOptions,
} from '../../../resolvers/subscriptions/socket-writer.ts';
import { createSealer } from '../../../src/live/seal.ts';
import { eventually } from '../../support/eventually.ts';

/** More than the kernel buffers for a client that does not read. */
const MUCH = 64 * 1024 * 1024;

describe('SocketWriter', () => {
  let socket: Socket;
  let reader: Socket;
  const opened: Socket[] = [];

  /** Both ends of a connection. The remote end does not read unless a test does. */
  const pair = async (): Promise<[near: Socket, far: Socket]> => {
    const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const near = connect((server.address() as AddressInfo).port, '127.0.0.1');
    const [[far]] = (await Promise.all([once(server, 'connection'), once(near, 'connect')])) as [[Socket], []];
    server.close();
    for (const end of [near, far]) end.on('error', () => {});
    opened.push(near, far);
    return [near, far];
  };
  beforeEach(async () => {
    [socket, reader] = await pair();
  });
  afterEach(() => {
    for (const end of opened.splice(0)) end.destroy();
  });

  const outletOf = (options: Partial<SocketWriterOptions> = {}): SocketWriter =>
    createSocketWriter({
      socket,
      isOpen: () => !socket.destroyed,
      maxBuffer: 1024 * 1024,
      onOverflow: () => socket.destroy(),
      onFailure: (error) => {
        throw error;
      },
      ...options,
    });
  /** Writes messages that are not read until the writer is full. */
  const fill = (writer: SocketWriter, bytes: number): void => {
    const payload = Buffer.alloc(bytes, 'x');
    for (let said = 0; said < MUCH && !writer.isFull(); said += bytes) {
      writer.next(frameHeader('1'), [payload]);
      writer.flush();
    }
    expect(writer.isFull()).toBe(true);
  };
  const read = (from: Socket): Buffer[] => {
    const chunks: Buffer[] = [];
    from.on('data', (chunk: Buffer) => chunks.push(chunk)).resume();
    return chunks;
  };

  it('closes only its own socket when its key is used up', async () => {
    const failures: unknown[] = [];
    const sealed = outletOf({ onFailure: (error) => failures.push(error) });
    sealed.seal(createSealer(randomBytes(32), { limit: 1 }));
    sealed.send('"the last one"');
    sealed.flush();
    const [other, otherReader] = await pair();
    const heard = read(otherReader);
    const plain = outletOf({ socket: other });
    // Both are flushed in the same turn, the broken one first.
    sealed.send('"one too many"');
    plain.send('"fine"');
    await eventually(() => Buffer.concat(heard).includes('"fine"'), 'the message on the other socket');
    expect(failures).toMatchObject([{ code: 'key_spent' }]);
    const written = socket.bytesWritten;
    await sealed.drained();
    expect(socket.bytesWritten).toBe(written);
  });

  it('does not count data in network buffers as a sign of life', async () => {
    const writer = outletOf();
    for (let round = 0; round < 3; round += 1) {
      writer.send('"as small as a ping"');
      writer.flush();
      expect(writer.hasMoved()).toBe(false);
    }
  });

  it('detects that a slow client is still reading, and that it has stopped', async () => {
    const writer = outletOf({ maxBuffer: MUCH });
    for (let part = 0; part < 64; part += 1) writer.next(frameHeader('1'), [Buffer.alloc(MUCH / 64, 'x')]);
    writer.flush();
    expect(writer.hasMoved()).toBe(false);
    let taken = 0;
    reader.on('data', (chunk: Buffer) => {
      taken += chunk.length;
      if (taken > MUCH / 2) reader.pause();
    });
    reader.resume();
    await eventually(() => taken > MUCH / 2, 'half of it');
    expect(writer.hasMoved()).toBe(true);
    // The kernel buffers also fill up eventually.
    await eventually(() => !writer.hasMoved(), 'the end of all progress');
    expect(socket.writableLength).toBeGreaterThan(0);
  });

  it('is full while its client does not read, and drained afterwards', async () => {
    const writer = outletOf();
    fill(writer, 1024 * 1024);
    // Several callers may wait for the same event.
    const waiting = Promise.all(Array.from({ length: 50 }, () => writer.drained()));
    expect(writer.isFull()).toBe(true);
    read(reader);
    await waiting;
    expect(writer.isFull()).toBe(false);
  });

  it('resolves waiting callers when its socket is closed, without a busy loop', async () => {
    const writer = outletOf({ isOpen: () => true });
    fill(writer, MUCH / 8);
    const waiting = writer.drained();
    const closed = once(socket, 'close');
    socket.destroy();
    await waiting;
    // Loops like a subscriber that waits for space. The loop must not block other tasks.
    while (!socket.closed) await writer.drained();
    await closed;
    await expect(writer.drained()).resolves.toBeUndefined();
  });

  it('waits only for the close of a socket that is closing', async () => {
    let isOpen = true;
    const writer = outletOf({ isOpen: () => isOpen });
    fill(writer, MUCH / 8);
    isOpen = false;
    let isDrained = false;
    const waiting = writer.drained().then(() => (isDrained = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(isDrained).toBe(false);
    socket.destroy();
    await waiting;
    await writer.drained();
  });

  it('disconnects a client that keeps sending requests without reading the replies', async () => {
    const writer = outletOf({ maxBuffer: 1024 });
    const closed = once(socket, 'close');
    for (let answers = 0; answers < 200_000 && !socket.destroyed; answers += 1) {
      writer.send(`"${'x'.repeat(1024)}"`);
      writer.flush();
    }
    await closed;
    // Only the kernel buffers and the allowed backlog.
    expect(socket.bytesWritten).toBeLessThan(MUCH);
  });
});
