import { type Identity, identityIn } from './identity.ts';
import {
  type Bytes,
  type ClientKeys,
  createKeys,
  type Opener,
  openStream,
  readUtf8,
  SealError,
  type Sealer,
  STREAM_PROTOCOL,
  utf8,
} from './seal.ts';

/** Close code after a protocol error, used by client and server. The reason is the `code` of a {@link SealError}. */
export const REFUSED_CODE = 4400;

/** Event for `onclose`. A subset of the DOM's `CloseEvent`, which does not exist in every environment. */
export interface SealedCloseEvent {
  type: 'close';
  code: number;
  reason: string;
  wasClean: boolean;
}

type Listener<Event> = ((event: Event) => unknown) | null;

/**
 * A `WebSocket` for graphql-transport-ws that seals its messages. Pass it to a graphql-ws client as `webSocketImpl`.
 * The client sends and receives plain messages. On the network only `connection_init` and `connection_ack` are plain.
 *
 * States: open → keys created and connection_init sent → connection_ack received, sealed → closed
 *
 * The first message must be a `connection_init` with a token: `send` throws a `SealError` (`token_missing`,
 * `token_unreadable`) otherwise. A frame that is refused closes the connection: `onerror` is called with a `SealError`,
 * then `onclose` with 4400.
 */
export class SealedWebSocket {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSING = 2;
  static readonly CLOSED = 3;

  onopen: Listener<unknown> = null;
  onmessage: Listener<{ type: 'message'; data: string }> = null;
  onerror: Listener<unknown> = null;
  onclose: Listener<SealedCloseEvent> = null;

  readonly #socket: WebSocket;
  /** State of the handshake; set when `connection_init` is sent. */
  #init: { identity: Identity; keys: Promise<ClientKeys> } | undefined;
  #sealer: Sealer | undefined;
  #opener: Opener | undefined;
  /** Messages that are not sealed yet. Those that arrive while a frame is being sealed share the next frame. */
  #waiting: string[] = [];
  #isSealing = false;
  /** Processes incoming messages one after another, in order. */
  #incoming: Promise<void> = Promise.resolve();
  #closing: { code: number; reason: string } | undefined;
  #isOver = false;

  constructor(url: string | URL, protocols?: string | string[]) {
    this.#socket = new WebSocket(url, protocols);
    this.#socket.binaryType = 'arraybuffer';
    this.#socket.addEventListener('open', (event) => tell(this.onopen, event));
    this.#socket.addEventListener('message', ({ data }) => this.#inTurn(() => this.#receive(data)));
    // An error event is always followed by a close event, which then reports both.
    let failure: unknown;
    this.#socket.addEventListener('error', (event) => (failure = event));
    this.#socket.addEventListener('close', ({ code, reason, wasClean }) =>
      this.#inTurn(() => this.#end({ type: 'close', code, reason, wasClean }, failure)),
    );
  }

  get url(): string {
    return this.#socket.url;
  }

  get protocol(): string {
    return this.#socket.protocol;
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount + this.#waiting.reduce((sum, text) => sum + text.length, 0);
  }

  get readyState(): number {
    if (this.#isOver) return SealedWebSocket.CLOSED;
    return this.#closing ? Math.max(this.#socket.readyState, SealedWebSocket.CLOSING) : this.#socket.readyState;
  }

  /** Sends the JSON of one message. @throws {SealError} when the first one is not a `connection_init` with a token */
  send(data: string): void {
    if (this.#socket.readyState === SealedWebSocket.CONNECTING) throw new Error('the socket is not open yet');
    if (this.readyState !== SealedWebSocket.OPEN) return;
    if (this.#init) {
      this.#waiting.push(data);
      void this.#sealWaiting();
    } else {
      this.#sendInit(data);
    }
  }

  /** Sends the waiting messages, then closes. Messages that arrive after this call are dropped. */
  close(code = 1000, reason = ''): void {
    if (this.#closing || this.#isOver) return;
    this.#closing = { code, reason };
    if (!this.#isSealing) this.#socket.close(code, reason);
  }

  #sendInit(data: string): void {
    const message = JSON.parse(data) as { type?: unknown; payload?: Record<string, unknown> };
    if (message.type !== 'connection_init') {
      throw new SealError('handshake_failed', 'the first message must be connection_init');
    }
    const identity = identityIn(message.payload ?? {});
    const keys = createKeys();
    this.#init = { identity, keys };
    void this.#sendWithKey(message, keys);
  }

  async #sendWithKey(message: { payload?: Record<string, unknown> }, keys: Promise<ClientKeys>): Promise<void> {
    try {
      const { clientPublicKey } = await keys;
      if (this.readyState !== SealedWebSocket.OPEN) return;
      this.#socket.send(JSON.stringify({ ...message, payload: { ...message.payload, clientPublicKey } }));
    } catch (error) {
      this.#refuse(error);
    }
  }

  /** Seals one frame at a time, so that frames are sent in the order of their nonces. */
  async #sealWaiting(): Promise<void> {
    const sealer = this.#sealer;
    if (!sealer || this.#isSealing) return;
    this.#isSealing = true;
    try {
      while (this.#waiting.length > 0 && !this.#isOver) {
        const [first = '', ...more] = this.#waiting.splice(0);
        const frame = await sealer.seal(utf8(more.length > 0 ? `[${[first, ...more].join(',')}]` : first));
        if (!this.#isOver) this.#socket.send(frame);
      }
      if (this.#closing) this.#socket.close(this.#closing.code, this.#closing.reason);
    } catch (error) {
      this.#refuse(error);
    } finally {
      this.#isSealing = false;
    }
  }

  #inTurn(work: () => void | Promise<void>): void {
    this.#incoming = this.#incoming.then(work).catch((error: unknown) => this.#refuse(error));
  }

  async #receive(data: unknown): Promise<void> {
    if (this.#isOver || this.#closing) return;
    if (!this.#opener) return this.#acknowledge(data);
    if (!(data instanceof ArrayBuffer))
      throw new SealError('frame_refused', 'the server sent a message that is not sealed');
    const text = readText(await this.#opener.open(new Uint8Array(data)));
    for (const message of messagesIn(text)) this.#deliver(message);
  }

  async #acknowledge(data: unknown): Promise<void> {
    if (!this.#init) throw new SealError('handshake_failed', 'the server sent a message before connection_init');
    const { identity, keys } = this.#init;
    const { sealer, opener } = await openStream({ ...(await keys), ...identity, ...answerIn(data) });
    this.#opener = opener;
    this.#sealer = sealer;
    this.#deliver(data as string);
    void this.#sealWaiting();
  }

  #deliver(data: string): void {
    if (!this.#isOver && !this.#closing) tell(this.onmessage, { type: 'message', data });
  }

  /** Closes without waiting for the server's close frame, because its messages can no longer be trusted. */
  #refuse(error: unknown): void {
    if (this.#isOver) return;
    const reason = error instanceof SealError ? error.code : 'internal';
    this.#socket.close(REFUSED_CODE, reason);
    this.#end({ type: 'close', code: REFUSED_CODE, reason, wasClean: false }, error);
  }

  /**
   * Calls `onerror` and `onclose` in the same task. Otherwise a graphql-ws client that reconnects after the error would
   * attribute the late close to its new connection.
   */
  #end(event: SealedCloseEvent, failure?: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#waiting = [];
    if (failure !== undefined) tell(this.onerror, failure);
    tell(this.onclose, event);
  }
}

/** Rethrows an error of a listener as an uncaught error, as any WebSocket does, and keeps the connection open. */
function tell<Event>(listener: Listener<Event>, event: Event): void {
  try {
    listener?.(event);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** Reads public key and salt from the server's `connection_ack`. */
function answerIn(data: unknown): { serverPublicKey: string; salt: string } {
  const message = typeof data === 'string' ? parsed(data) : undefined;
  const { type, payload } = (message ?? {}) as { type?: unknown; payload?: Record<string, unknown> | null };
  const { protocol, serverPublicKey, salt } = payload ?? {};
  if (type !== 'connection_ack' || protocol !== STREAM_PROTOCOL) {
    throw new SealError('handshake_failed', `the server did not answer with a connection_ack of ${STREAM_PROTOCOL}`);
  }
  if (typeof serverPublicKey !== 'string' || typeof salt !== 'string') {
    throw new SealError('handshake_failed', 'connection_ack has no serverPublicKey or no salt');
  }
  return { serverPublicKey, salt };
}

/** Splits a frame into the JSON of its messages. */
function messagesIn(text: string): string[] {
  if (!text.trimStart().startsWith('[')) return [text];
  const messages = parsed(text);
  if (!Array.isArray(messages)) throw new SealError('frame_refused', 'the content of a frame is not JSON');
  return messages.map((message) => JSON.stringify(message));
}

type JsonWithSource = JSON & { rawJSON?: (text: string) => unknown };

/** Keeps the digits of numbers, where the JavaScript engine can, so that the WebSocket client gets the JSON as it was sent. */
function keepDigits(_key: string, value: unknown, context?: { source?: string }): unknown {
  const { rawJSON } = JSON as JsonWithSource;
  const isChanged = typeof value === 'number' && context?.source !== undefined && String(value) !== context.source;
  return isChanged && rawJSON ? rawJSON(context.source as string) : value;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text, keepDigits) as unknown;
  } catch {
    return undefined;
  }
}

function readText(bytes: Bytes): string {
  try {
    return readUtf8(bytes);
  } catch (error) {
    throw new SealError('frame_refused', 'the content of a frame is not UTF-8', { cause: error });
  }
}
