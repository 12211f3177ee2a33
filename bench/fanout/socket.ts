import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';

// Minimal WebSocket client, so that counting messages costs less than sending them.

const OPCODE = { text: 1, binary: 2, close: 8, ping: 9, pong: 10 };
const HEAD_END = Buffer.from('\r\n\r\n');

/** Shared by all sockets, because each read is processed before the next. */
const shared = Buffer.allocUnsafe(256 * 1_024);

export interface SocketHandlers {
  opened(): void;
  /** Called with each text or binary frame. The bytes are valid only during the call. */
  frame(bytes: Buffer, start: number, end: number): void;
  closed(why: string): void;
}

export class LeanSocket {
  readonly #socket: Socket;
  readonly #handlers: SocketHandlers;
  #upgraded = false;
  #closing = false;
  /** Start of an incomplete frame. */
  #rest: Buffer | undefined;

  constructor(url: URL, handlers: SocketHandlers) {
    this.#handlers = handlers;
    this.#socket = connect({
      host: url.hostname,
      port: Number(url.port),
      noDelay: true,
      onread: {
        buffer: shared,
        callback: (length) => {
          this.#read(length);
          return true;
        },
      },
    });
    this.#socket.once('connect', () => this.#socket.write(upgradeRequest(url)));
    let why = 'the server closed the connection during the handshake';
    this.#socket.once('error', (error) => (why = error.message));
    this.#socket.once('close', () => {
      if (!this.#closing) handlers.closed(why);
    });
  }

  send(payload: string | Uint8Array): void {
    const opcode = typeof payload === 'string' ? OPCODE.text : OPCODE.binary;
    this.#socket.write(maskedFrame(opcode, Buffer.from(payload)));
  }

  close(): void {
    this.#closing = true;
    this.#socket.end(maskedFrame(OPCODE.close, Buffer.from([0x03, 0xe8])));
  }

  #read(length: number): void {
    let bytes = shared;
    let end = length;
    if (this.#rest) {
      bytes = Buffer.concat([this.#rest, shared.subarray(0, length)]);
      end = bytes.length;
      this.#rest = undefined;
    }
    const done = this.#take(bytes, this.#upgraded ? 0 : this.#upgrade(bytes, end), end);
    if (done < end) this.#rest = Buffer.from(bytes.subarray(done, end));
  }

  /** Returns the index of the first frame; 0 when the HTTP response is incomplete. */
  #upgrade(bytes: Buffer, end: number): number {
    const head = bytes.subarray(0, end).indexOf(HEAD_END);
    if (head === -1) return 0;
    const [status = ''] = bytes.toString('latin1', 0, head).split('\r\n');
    if (!status.includes(' 101 ')) throw new Error(`the server answered ${status}`);
    this.#upgraded = true;
    this.#handlers.opened();
    return head + HEAD_END.length;
  }

  /** Processes complete frames and returns the index of the first incomplete one. */
  #take(bytes: Buffer, from: number, end: number): number {
    let at = from;
    while (this.#upgraded && at + 2 <= end) {
      const short = (bytes[at + 1] ?? 0) & 0x7f;
      const start = at + (short < 126 ? 2 : short === 126 ? 4 : 10);
      if (start > end) break;
      const length =
        short < 126 ? short : short === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2));
      if (start + length > end) break;
      this.#frame((bytes[at] ?? 0) & 0x0f, bytes, start, start + length);
      at = start + length;
    }
    return at;
  }

  #frame(opcode: number, bytes: Buffer, start: number, end: number): void {
    if (opcode === OPCODE.text || opcode === OPCODE.binary) this.#handlers.frame(bytes, start, end);
    else if (opcode === OPCODE.ping) this.#socket.write(maskedFrame(OPCODE.pong, bytes.subarray(start, end)));
    else if (opcode === OPCODE.close && !this.#closing) {
      const code = end - start >= 2 ? bytes.readUInt16BE(start) : 1005;
      this.#handlers.closed(`the server closed with ${code} ${bytes.toString('utf8', start + 2, end)}`);
    }
  }
}

const upgradeRequest = (url: URL): string =>
  [
    `GET ${url.pathname}${url.search} HTTP/1.1`,
    `Host: ${url.host}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
    'Sec-WebSocket-Protocol: graphql-transport-ws',
    '\r\n',
  ].join('\r\n');

/** Creates a masked frame, as required for clients. Not optimized, because clients send little. */
function maskedFrame(opcode: number, payload: Buffer): Buffer {
  const extended = payload.length > 125;
  const head = Buffer.alloc(extended ? 8 : 6);
  head[0] = 0x80 | opcode;
  head[1] = 0x80 | (extended ? 126 : payload.length);
  if (extended) head.writeUInt16BE(payload.length, 2);
  const mask = randomBytes(4);
  mask.copy(head, head.length - 4);
  return Buffer.concat([head, payload.map((byte, index) => byte ^ (mask[index & 3] ?? 0))]);
}
