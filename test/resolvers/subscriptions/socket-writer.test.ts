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

/** More than the kernel takes for somebody who does not read. */
const MUCH = 64 * 1024 * 1024;

describe('the way out of a socket', () => {
  let socket: Socket;
  let reader: Socket;
  const opened: Socket[] = [];

  /** Both ends of a connection; nobody reads from the far one unless a test does. */
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
  /** Says things that nobody reads, until the writer is full. */
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

  it('gives up its own socket when its key is spent, and no other', async () => {
    const failures: unknown[] = [];
    const sealed = outletOf({ onFailure: (error) => failures.push(error) });
    sealed.seal(createSealer(randomBytes(32), { limit: 1 }));
    sealed.send('"the last one"');
    sealed.flush();
    const [other, otherReader] = await pair();
    const heard = read(otherReader);
    const plain = outletOf({ socket: other });
    // Both are emptied in the same turn, the broken one first.
    sealed.send('"one too many"');
    plain.send('"fine"');
    await eventually(() => Buffer.concat(heard).includes('"fine"'), 'the message on the other socket');
    expect(failures).toMatchObject([{ code: 'key_spent' }]);
    const written = socket.bytesWritten;
    await sealed.drained();
    expect(socket.bytesWritten).toBe(written);
  });

  it('does not take what fits into the buffers on the way for a sign of life', async () => {
    const writer = outletOf();
    for (let round = 0; round < 3; round += 1) {
      writer.send('"as small as a ping"');
      writer.flush();
      expect(writer.hasMoved()).toBe(false);
    }
  });

  it('sees that somebody reads who is far behind, and that somebody stopped', async () => {
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
    // What the kernel still takes comes to an end, too.
    await eventually(() => !writer.hasMoved(), 'standstill');
    expect(socket.writableLength).toBeGreaterThan(0);
  });

  it('is full as long as its client does not read, and drained when it has', async () => {
    const writer = outletOf();
    fill(writer, 1024 * 1024);
    // Any number may wait for the same room.
    const waiting = Promise.all(Array.from({ length: 50 }, () => writer.drained()));
    expect(writer.isFull()).toBe(true);
    read(reader);
    await waiting;
    expect(writer.isFull()).toBe(false);
  });

  it('keeps nobody waiting, and nobody busy, when its socket dies', async () => {
    const writer = outletOf({ isOpen: () => true });
    fill(writer, MUCH / 8);
    const waiting = writer.drained();
    const closed = once(socket, 'close');
    socket.destroy();
    await waiting;
    // As somebody who waits for room does: this must leave others their turn.
    while (!socket.closed) await writer.drained();
    await closed;
    await expect(writer.drained()).resolves.toBeUndefined();
  });

  it('does not wait for more than the close of a socket that is being closed', async () => {
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

  it('lets go of a client that asks on and on and does not read the answers', async () => {
    const writer = outletOf({ maxBuffer: 1024 });
    const closed = once(socket, 'close');
    for (let answers = 0; answers < 200_000 && !socket.destroyed; answers += 1) {
      writer.send(`"${'x'.repeat(1024)}"`);
      writer.flush();
    }
    await closed;
    // Only what the kernel took, and what may wait.
    expect(socket.bytesWritten).toBeLessThan(MUCH);
  });
});
