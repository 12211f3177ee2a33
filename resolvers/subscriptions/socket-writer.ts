import type { Duplex } from 'node:stream';

import { TAG_BYTES } from '../../src/live/aes-gcm.ts';
import type { Sealer } from '../../src/live/seal.ts';

/**
 * The way out of one socket. What is said within one turn of the event loop waits and leaves together, in one write;
 * on a sealed connection also in one frame.
 */
export interface SocketWriter {
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

/** A protocol message that waits, and the one after it. */
interface Message {
  /** Of a `next` message, whose payload others get too; whatever else is said stands in the payload as it is. */
  readonly head: Buffer | undefined;
  readonly payload: Buffer;
  /** Bytes in all. */
  readonly size: number;
  after: Message | undefined;
}

/** A client for whom so many times the usual buffer waits is not worth waiting for. */
const OVERFLOW_FACTOR = 16;
const OPEN_BRACKET = 0x5b;
const COMMA = 0x2c;
const CLOSE_BRACKET = 0x5d;
/** What every `next` message ends in, after its payload. */
const CLOSE_BRACE = 0x7d;
const TEXT = 0x81;
const BINARY = 0x82;
const MAX_HEADER = 10;
/** What is written at once, unless a single message is larger. Bytes. */
const CHUNK = 64 * 1024;

/** `{"id":…,"type":"next","payload":`: the part of a message that is the same for a whole subscription. */
export const frameHeader = (id: string): Buffer => Buffer.from(`{"id":${JSON.stringify(id)},"type":"next","payload":`);

/** Written after everything else, it comes back when that has left. */
const NOTHING = Buffer.alloc(0);

/** Outlets with something to say, emptied together. */
let waiting: SocketWriter[] = [];

function flushSoon(writer: SocketWriter): void {
  if (waiting.length === 0) {
    setImmediate(() => {
      const all = waiting;
      waiting = [];
      for (const each of all) each.flush();
    });
  }
  waiting.push(writer);
}

/** Frames are put together here, for whichever socket. */
let scratch = Buffer.allocUnsafeSlow(CHUNK);

export const createSocketWriter = (options: OutletOptions): SocketWriter => new SocketOutlet(options);

/** A class, since a message to a thousand sockets is to touch as little memory as it can at each of them. */
class SocketOutlet implements SocketWriter {
  readonly #options: OutletOptions;
  readonly #socket: OutletOptions['socket'];
  #first: Message | undefined;
  #last: Message | undefined;
  #sealer: Sealer | undefined;
  #waitingBytes = 0;
  /** Something of the last write was still waiting after it. Only then the socket needs to be asked how much. */
  #isClogged = false;
  #taken = 0;
  #isBehind = false;

  constructor(options: OutletOptions) {
    this.#options = options;
    this.#socket = options.socket;
  }

  send(message: string): void {
    if (this.#waitingFor() > OVERFLOW_FACTOR * this.#options.maxBuffer) return this.#options.onOverflow();
    const payload = Buffer.from(message);
    this.#add({ head: undefined, payload, size: payload.length, after: undefined });
  }

  next(head: Buffer, payloads: readonly Buffer[]): void {
    for (const payload of payloads) {
      this.#add({ head, payload, size: head.length + payload.length + 1, after: undefined });
    }
  }

  seal(sealer: Sealer): void {
    this.flush();
    this.#sealer = sealer;
  }

  flush(): void {
    const first = this.#first;
    if (!first) return;
    this.#first = undefined;
    this.#last = undefined;
    this.#waitingBytes = 0;
    if (!this.#options.isOpen()) return;
    try {
      this.#write(first);
    } catch (error) {
      // Nobody stands above: many sockets are emptied in one turn, and one must not keep it from the others.
      this.#options.onFailure(error);
    }
  }

  isFull(): boolean {
    return this.#waitingFor() > this.#options.maxBuffer;
  }

  drained(): Promise<void> {
    const socket = this.#socket;
    return new Promise((resolve) => {
      this.flush();
      // In the turn after: whoever waits in a loop must not keep a dying socket from being closed.
      const done = (): void => void setImmediate(resolve);
      if (this.#options.isOpen()) socket.write(NOTHING, done);
      else if (socket.closed) done();
      else socket.once('close', done);
    });
  }

  hasMoved(): boolean {
    const [wasBehind, before] = [this.#isBehind, this.#taken];
    const { writableLength, bytesWritten = 0 } = this.#socket;
    this.#isBehind = writableLength > 0;
    this.#taken = bytesWritten - writableLength;
    // What fits into the buffers on the way leaves here whether anybody reads it or not.
    return wasBehind && this.#taken > before;
  }

  #waitingFor(): number {
    return this.#waitingBytes + this.#unsent();
  }

  #unsent(): number {
    return this.#isClogged ? this.#socket.writableLength : 0;
  }

  #add(message: Message): void {
    if (this.#last) this.#last.after = message;
    else {
      this.#first = message;
      flushSoon(this);
    }
    this.#last = message;
    this.#waitingBytes += message.size;
  }

  #write(first: Message): void {
    const socket = this.#socket;
    for (let start: Message | undefined = first; start;) {
      const { rest, room } = chunkFrom(start);
      // A socket that is behind already gets bytes of its own: the common ones are not to be kept from the others by it.
      const target = room > CHUNK || this.#unsent() > 0 ? Buffer.allocUnsafe(room) : scratch;
      const filled = this.#sealer ? putSealed(start, target, this.#sealer) : putText(start, target);
      socket.write(target.subarray(0, filled));
      this.#isClogged = socket.writableLength > 0;
      // What the kernel did not take at once is still to be read from there.
      if (target === scratch && this.#isClogged) scratch = Buffer.allocUnsafeSlow(CHUNK);
      start = rest;
    }
  }
}

/**
 * Cuts off the messages that leave in one write. `room` is the bytes that they may take with everything around them: a
 * header each, or brackets, commas and one header and tag for all.
 */
function chunkFrom(start: Message): { rest: Message | undefined; room: number } {
  let room = MAX_HEADER + TAG_BYTES + 1;
  for (let message = start; ; message = message.after) {
    room += message.size + MAX_HEADER;
    if (message.after && room + message.after.size + MAX_HEADER <= CHUNK) continue;
    const rest = message.after;
    message.after = undefined;
    return { rest, room };
  }
}

/** Unmasked, unfragmented frames (RFC 6455, 5.2), one a message. @returns where they end. */
function putText(start: Message, target: Buffer): number {
  let offset = 0;
  for (let message: Message | undefined = start; message; message = message.after) {
    offset = putHeader(target, offset, TEXT, message.size);
    offset = put(message, target, offset);
  }
  return offset;
}

/** One frame: of one message as it is, of several as an array of them. @returns where it ends. */
function putSealed(start: Message, target: Buffer, sealer: Sealer): number {
  let size = TAG_BYTES;
  // Between two there is a comma, around all there are two brackets.
  for (let message: Message | undefined = start; message; message = message.after) size += message.size + 1;
  size += start.after ? 1 : -1;
  const begin = putHeader(target, 0, BINARY, size);
  let offset = begin;
  for (let message: Message | undefined = start; message; message = message.after) {
    if (start.after) target[offset++] = message === start ? OPEN_BRACKET : COMMA;
    offset = put(message, target, offset);
  }
  if (start.after) target[offset++] = CLOSE_BRACKET;
  const end = offset + TAG_BYTES;
  sealer.sealInPlace(target.subarray(begin, end));
  return end;
}

/** @returns where the message ends. */
function put({ head, payload }: Message, target: Buffer, start: number): number {
  let offset = start;
  if (head) {
    target.set(head, offset);
    offset += head.length;
  }
  target.set(payload, offset);
  offset += payload.length;
  if (head) target[offset++] = CLOSE_BRACE;
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
