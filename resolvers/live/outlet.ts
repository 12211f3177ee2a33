import type { Duplex } from 'node:stream';

/** Seals what leaves on `/stream`. */
export interface Sealer {
  seal(plaintext: Uint8Array): Buffer;
}

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
  /** Whether the client took anything since this was last asked. */
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
}

/** A client for whom so many times the usual buffer waits is not worth waiting for. */
const OVERFLOW_FACTOR = 16;
/** What every `next` message ends in, after its payload. */
const TAIL = Buffer.from('}');
/** Largest plaintext of one sealed frame, unless a single message is larger. Bytes. */
const MAX_SEALED = 256 * 1024;
const OPEN_BRACKET = 0x5b;
const COMMA = 0x2c;
const CLOSE_BRACKET = 0x5d;
const TEXT = 0x81;
const BINARY = 0x82;

/** `{"id":…,"type":"next","payload":`: the part of a message that is the same for a whole subscription. */
export const headOf = (id: string): Buffer => Buffer.from(`{"id":${JSON.stringify(id)},"type":"next","payload":`);

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

export function createOutlet({ socket, isOpen, maxBuffer, onOverflow }: OutletOptions): Outlet {
  /** Each message as the pieces that it is made of. */
  let messages: (readonly Buffer[])[] = [];
  let sealer: Sealer | undefined;
  let waitingBytes = 0;

  const add = (message: readonly Buffer[]): void => {
    if (messages.length === 0) flushSoon(flush);
    messages.push(message);
    for (const piece of message) waitingBytes += piece.length;
  };
  const flush = (): void => {
    if (messages.length === 0) return;
    const all = messages;
    messages = [];
    waitingBytes = 0;
    if (!isOpen()) return;
    socket.write(sealer ? sealedFrames(all, sealer) : textFrames(all));
  };

  const waitingFor = (): number => socket.writableLength + waitingBytes;
  let taken = 0;

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
        if (!isOpen() || !socket.writableNeedDrain) {
          resolve();
          return;
        }
        const done = (): void => {
          socket.off('drain', done);
          socket.off('close', done);
          resolve();
        };
        socket.on('drain', done);
        socket.on('close', done);
      }),
    hasMoved: () => {
      const before = taken;
      taken = (socket.bytesWritten ?? 0) - socket.writableLength;
      return taken > before;
    },
  };
}

/** Unmasked, unfragmented frames (RFC 6455, 5.2), one a message, in one piece. */
function textFrames(messages: (readonly Buffer[])[]): Buffer {
  const sizes = messages.map(sizeOf);
  const frames = Buffer.allocUnsafe(sizes.reduce((total, size) => total + headerSize(size) + size, 0));
  let offset = 0;
  for (const [index, message] of messages.entries()) {
    offset = writeHeader(frames, offset, TEXT, sizes[index] as number);
    offset = copy(message, frames, offset);
  }
  return frames;
}

function sealedFrames(messages: (readonly Buffer[])[], sealer: Sealer): Buffer {
  const frames: Buffer[] = [];
  for (let start = 0; start < messages.length;) {
    let end = start + 1;
    let size = sizeOf(messages[start] as readonly Buffer[]);
    for (; end < messages.length; end += 1) {
      const more = sizeOf(messages[end] as readonly Buffer[]);
      if (size + more > MAX_SEALED) break;
      size += more;
    }
    const sealed = sealer.seal(asJson(messages.slice(start, end), size));
    const header = Buffer.allocUnsafe(headerSize(sealed.length));
    writeHeader(header, 0, BINARY, sealed.length);
    frames.push(header, sealed);
    start = end;
  }
  return Buffer.concat(frames);
}

/** One message as it is, several as an array of them. */
function asJson(messages: (readonly Buffer[])[], size: number): Buffer {
  const isArray = messages.length > 1;
  const json = Buffer.allocUnsafe(isArray ? size + messages.length + 1 : size);
  let offset = 0;
  for (const message of messages) {
    if (isArray) {
      json[offset] = offset === 0 ? OPEN_BRACKET : COMMA;
      offset += 1;
    }
    offset = copy(message, json, offset);
  }
  if (isArray) json[offset] = CLOSE_BRACKET;
  return json;
}

function sizeOf(message: readonly Buffer[]): number {
  let size = 0;
  for (const piece of message) size += piece.length;
  return size;
}

function copy(message: readonly Buffer[], target: Buffer, start: number): number {
  let offset = start;
  for (const piece of message) {
    target.set(piece, offset);
    offset += piece.length;
  }
  return offset;
}

const headerSize = (size: number): number => (size < 126 ? 2 : size < 65_536 ? 4 : 10);

/** @returns where the payload begins. */
function writeHeader(target: Buffer, offset: number, kind: number, size: number): number {
  target[offset] = kind;
  if (size < 126) target[offset + 1] = size;
  else if (size < 65_536) {
    target[offset + 1] = 126;
    target.writeUInt16BE(size, offset + 2);
  } else {
    target[offset + 1] = 127;
    target.writeBigUInt64BE(BigInt(size), offset + 2);
  }
  return offset + headerSize(size);
}
