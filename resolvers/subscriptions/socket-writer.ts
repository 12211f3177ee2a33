import type { Duplex } from 'node:stream';

import { TAG_BYTES } from '../../src/live/aes-gcm.ts';
import type { Sealer } from '../../src/live/seal.ts';

/**
 * Writes messages to one socket. Messages of one turn of the event loop are combined into one write, and on a sealed
 * connection into one frame.
 */
export interface SocketWriter {
  /** Sends a complete protocol message. */
  send(message: string): void;
  /** Sends shared payloads as `next` messages with the head of this subscription. */
  next(head: Buffer, payloads: readonly Buffer[]): void;
  /** Seals all later messages. */
  seal(sealer: Sealer): void;
  flush(): void;
  /** True when more bytes than `maxBuffer` wait to be sent. */
  isFull(): boolean;
  /** Resolves when everything has been sent or the socket is closed. */
  drained(): Promise<void>;
  /** Returns whether a client that was behind at the last call has received data since then. */
  hasMoved(): boolean;
}

export interface SocketWriterOptions {
  /** The connection below the WebSocket. Complete frames are written to it. */
  socket: Duplex & { bytesWritten?: number };
  isOpen: () => boolean;
  /** Size of the send buffer, in bytes. While it is full, feeds stop writing. */
  maxBuffer: number;
  /** Called when the client keeps sending requests without reading the replies. */
  onOverflow: () => void;
  /** Called when a message could not be written, e.g. because the key is used up. The socket must then be closed. */
  onFailure: (error: unknown) => void;
}

/** A waiting protocol message, as a linked list. */
interface Message {
  /** Start of a `next` message with a shared payload; undefined when the payload is the whole message. */
  readonly head: Buffer | undefined;
  readonly payload: Buffer;
  /** Size of the message, in bytes. */
  readonly size: number;
  after: Message | undefined;
}

/** A client whose waiting bytes exceed the buffer by this factor is disconnected. */
const OVERFLOW_FACTOR = 16;
const OPEN_BRACKET = 0x5b;
const COMMA = 0x2c;
const CLOSE_BRACKET = 0x5d;
/** End of every `next` message, after its payload. */
const CLOSE_BRACE = 0x7d;
const TEXT = 0x81;
const BINARY = 0x82;
const MAX_HEADER = 10;
/** Maximum size of one write, in bytes, unless a single message is larger. */
const CHUNK = 64 * 1024;

/** Returns `{"id":…,"type":"next","payload":`, the part that all `next` messages of a subscription share. */
export const frameHeader = (id: string): Buffer => Buffer.from(`{"id":${JSON.stringify(id)},"type":"next","payload":`);

/** The callback of an empty write is called after all earlier writes. */
const EMPTY = Buffer.alloc(0);

/** Writers with waiting messages. They are flushed together. */
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

/** Buffer in which frames are built, shared by all sockets. */
let scratch = Buffer.allocUnsafeSlow(CHUNK);

export const createSocketWriter = (options: SocketWriterOptions): SocketWriter => new BufferedSocketWriter(options);

/** A class instead of closures, so that a message to a thousand sockets touches little memory for each. */
class BufferedSocketWriter implements SocketWriter {
  readonly #options: SocketWriterOptions;
  readonly #socket: SocketWriterOptions['socket'];
  #first: Message | undefined;
  #last: Message | undefined;
  #sealer: Sealer | undefined;
  #waitingBytes = 0;
  /** True when data of the last write was still waiting after it. Only then `writableLength` is read. */
  #isClogged = false;
  #taken = 0;
  #isBehind = false;

  constructor(options: SocketWriterOptions) {
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
      // Not thrown, because other sockets are flushed in the same turn.
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
      // Resolved in the next turn, so that a caller in a loop does not delay the close of the socket.
      const done = (): void => void setImmediate(resolve);
      if (this.#options.isOpen()) socket.write(EMPTY, done);
      else if (socket.closed) done();
      else socket.once('close', done);
    });
  }

  hasMoved(): boolean {
    const [wasBehind, before] = [this.#isBehind, this.#taken];
    const { writableLength, bytesWritten = 0 } = this.#socket;
    this.#isBehind = writableLength > 0;
    this.#taken = bytesWritten - writableLength;
    // Counts only if the client was behind, because data that fits into network buffers is sent even to a dead client.
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
      const { rest, maxBytes } = chunkFrom(start);
      // A slow socket gets its own buffer, because the shared one must be free for the other sockets.
      const target = maxBytes > CHUNK || this.#unsent() > 0 ? Buffer.allocUnsafe(maxBytes) : scratch;
      const filled = this.#sealer ? putSealed(start, target, this.#sealer) : putText(start, target);
      socket.write(target.subarray(0, filled));
      this.#isClogged = socket.writableLength > 0;
      // Data that the kernel has not accepted yet is still in this buffer, so the next frames need a new one.
      if (target === scratch && this.#isClogged) scratch = Buffer.allocUnsafeSlow(CHUNK);
      start = rest;
    }
  }
}

/**
 * Removes the messages of the next write from the list. `maxBytes` is the maximum size of that write in bytes: with a
 * header for each message, or with brackets, commas, one header and one tag.
 */
function chunkFrom(start: Message): { rest: Message | undefined; maxBytes: number } {
  let maxBytes = MAX_HEADER + TAG_BYTES + 1;
  for (let message = start; ; message = message.after) {
    maxBytes += message.size + MAX_HEADER;
    if (message.after && maxBytes + message.after.size + MAX_HEADER <= CHUNK) continue;
    const rest = message.after;
    message.after = undefined;
    return { rest, maxBytes };
  }
}

/** Writes one unmasked, unfragmented frame per message (RFC 6455, 5.2). @returns the end index. */
function putText(start: Message, target: Buffer): number {
  let offset = 0;
  for (let message: Message | undefined = start; message; message = message.after) {
    offset = putHeader(target, offset, TEXT, message.size);
    offset = put(message, target, offset);
  }
  return offset;
}

/** Writes one sealed frame with one message or an array of messages. @returns the end index. */
function putSealed(start: Message, target: Buffer, sealer: Sealer): number {
  let size = TAG_BYTES;
  // Several messages are separated by commas and enclosed in brackets.
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

/** Writes a message. @returns the end index. */
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

/** Writes a frame header. @returns the start index of the payload. */
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
