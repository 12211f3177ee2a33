import type { Duplex } from 'node:stream';

import { type Sealer, TAG_BYTES } from '../../src/live/seal.ts';

/**
 * The way out of one socket. What is said within one turn of the event loop waits and leaves together, in one write;
 * on a sealed connection also in one frame.
 */
export interface Outlet {
  /** Sends a protocol message as it stands. */
  send(message: string): void;
  /** Sends payloads that many get, each in a message with this subscription's head. */
  next(head: Buffer, payloads: readonly Buffer[]): void;
  /** From now on everything is sealed. */
  seal(sealer: Sealer): void;
  flush(): void;
  /** More waits for the client than should. */
  isFull(): boolean;
  /** Resolves when everything has left, or the socket is gone. */
  drained(): Promise<void>;
  /** Whether a client that was behind when this was last asked has taken something since. */
  hasMoved(): boolean;
}

export interface OutletOptions {
  /** The connection below the WebSocket: frames are written to it ready-made. */
  socket: Duplex & { bytesWritten?: number };
  isOpen: () => boolean;
  /** Bytes that may wait before whatever can be read again later is held back. */
  maxBuffer: number;
  /** The client asks on and on, and does not read the answers. */
  onOverflow: () => void;
  /** Something could not be put into words, e.g. since the key is spent. What waited is lost: the socket has to go. */
  onFailure: (error: unknown) => void;
}

/** A protocol message as the pieces that it is made of. */
type Message = readonly Buffer[];

/** A client for whom so many times the usual buffer waits is not worth waiting for. */
const OVERFLOW_FACTOR = 16;
/** What every `next` message ends in, after its payload. */
const TAIL = Buffer.from('}');
const OPEN_BRACKET = 0x5b;
const COMMA = 0x2c;
const CLOSE_BRACKET = 0x5d;
const TEXT = 0x81;
const BINARY = 0x82;
const MAX_HEADER = 10;
/** What is written at once, unless a single message is larger. Bytes. */
const CHUNK = 64 * 1024;

/** `{"id":…,"type":"next","payload":`: the part of a message that is the same for a whole subscription. */
export const headOf = (id: string): Buffer => Buffer.from(`{"id":${JSON.stringify(id)},"type":"next","payload":`);

/** Written after everything else, it comes back when that has left. */
const NOTHING = Buffer.alloc(0);

/** Outlets with something to say, emptied together. */
let waiting: (() => void)[] = [];

function flushSoon(flush: () => void): void {
  if (waiting.length === 0) {
    setImmediate(() => {
      const all = waiting;
      waiting = [];
      for (const each of all) each();
    });
  }
  waiting.push(flush);
}

/** Frames are put together here, for whichever socket. */
let scratch = Buffer.allocUnsafeSlow(CHUNK);
/** Where messages become one plaintext before they are sealed. */
const plaintext = Buffer.allocUnsafeSlow(CHUNK);

export function createOutlet({ socket, isOpen, maxBuffer, onOverflow, onFailure }: OutletOptions): Outlet {
  let messages: Message[] = [];
  let sealer: Sealer | undefined;
  let waitingBytes = 0;
  let taken = 0;
  let isBehind = false;

  const waitingFor = (): number => socket.writableLength + waitingBytes;
  const add = (message: Message): void => {
    if (messages.length === 0) flushSoon(flush);
    messages.push(message);
    waitingBytes += sizeOf(message);
  };
  const flush = (): void => {
    if (messages.length === 0) return;
    const all = messages;
    messages = [];
    waitingBytes = 0;
    if (!isOpen()) return;
    try {
      write(all);
    } catch (error) {
      // Nobody stands above: many sockets are emptied in one turn, and one must not keep it from the others.
      onFailure(error);
    }
  };
  const write = (all: Message[]): void => {
    for (let start = 0; start < all.length;) {
      const { end, size } = chunkAt(all, start);
      const room = roomFor(socket, size);
      const filled = sealer ? putSealed(all, start, end, room, sealer) : putText(all, start, end, room);
      socket.write(room.subarray(0, filled));
      // What the kernel did not take at once is still to be read from there.
      if (room === scratch && socket.writableLength > 0) scratch = Buffer.allocUnsafeSlow(CHUNK);
      start = end;
    }
  };

  return {
    send: (message) => {
      if (waitingFor() > OVERFLOW_FACTOR * maxBuffer) onOverflow();
      else add([Buffer.from(message)]);
    },
    next: (head, payloads) => {
      for (const payload of payloads) add([head, payload, TAIL]);
    },
    seal: (chosen) => {
      flush();
      sealer = chosen;
    },
    flush,
    isFull: () => waitingFor() > maxBuffer,
    drained: () =>
      new Promise((resolve) => {
        flush();
        // In the turn after: whoever waits in a loop must not keep a dying socket from being closed.
        const done = (): void => void setImmediate(resolve);
        if (isOpen()) socket.write(NOTHING, done);
        else if (socket.closed) done();
        else socket.once('close', done);
      }),
    hasMoved: () => {
      const [wasBehind, before] = [isBehind, taken];
      isBehind = socket.writableLength > 0;
      taken = (socket.bytesWritten ?? 0) - socket.writableLength;
      // What fits into the buffers on the way leaves here whether anybody reads it or not.
      return wasBehind && taken > before;
    },
  };
}

/**
 * Messages from `start` on that leave in one write, and the bytes that they may take with everything around them: a
 * header each, or brackets, commas and one header and tag for all.
 */
function chunkAt(messages: Message[], start: number): { end: number; size: number } {
  let size = MAX_HEADER + TAG_BYTES + 1;
  let end = start;
  for (; end < messages.length; end += 1) {
    const more = sizeOf(messages[end] as Message) + MAX_HEADER;
    if (end > start && size + more > CHUNK) break;
    size += more;
  }
  return { end, size };
}

/** A socket that is behind already gets bytes of its own: the common ones are not to be kept from the others by it. */
const roomFor = (socket: Duplex, size: number): Buffer =>
  size > CHUNK || socket.writableLength > 0 ? Buffer.allocUnsafe(size) : scratch;

/** Unmasked, unfragmented frames (RFC 6455, 5.2), one a message. @returns where they end. */
function putText(messages: Message[], start: number, end: number, target: Buffer): number {
  let offset = 0;
  for (let index = start; index < end; index += 1) {
    const message = messages[index] as Message;
    offset = putHeader(target, offset, TEXT, sizeOf(message));
    offset = put(message, target, offset);
  }
  return offset;
}

/** One frame: of one message as it is, of several as an array of them. @returns where it ends. */
function putSealed(messages: Message[], start: number, end: number, target: Buffer, sealer: Sealer): number {
  const json = target.length > CHUNK ? Buffer.allocUnsafe(target.length) : plaintext;
  const isArray = end - start > 1;
  let size = 0;
  for (let index = start; index < end; index += 1) {
    if (isArray) json[size++] = index === start ? OPEN_BRACKET : COMMA;
    size = put(messages[index] as Message, json, size);
  }
  if (isArray) json[size++] = CLOSE_BRACKET;
  const offset = putHeader(target, 0, BINARY, size + TAG_BYTES);
  return sealer.sealInto(target, offset, json.subarray(0, size));
}

function sizeOf(message: Message): number {
  let size = 0;
  for (const piece of message) size += piece.length;
  return size;
}

/** @returns where the message ends. */
function put(message: Message, target: Buffer, start: number): number {
  let offset = start;
  for (const piece of message) {
    target.set(piece, offset);
    offset += piece.length;
  }
  return offset;
}

/** @returns where the payload begins. */
function putHeader(target: Buffer, offset: number, kind: number, size: number): number {
  target[offset] = kind;
  if (size < 126) {
    target[offset + 1] = size;
    return offset + 2;
  }
  if (size < 65_536) {
    target[offset + 1] = 126;
    target.writeUInt16BE(size, offset + 2);
    return offset + 4;
  }
  target[offset + 1] = 127;
  target.writeBigUInt64BE(BigInt(size), offset + 2);
  return offset + MAX_HEADER;
}
