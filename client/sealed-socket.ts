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

/** How either end closes a connection that cannot be trusted; the reason is the `code` of a {@link SealError}. */
export const REFUSED_CODE = 4400;

/** What listeners are told when the connection is over; a `CloseEvent` where that exists has more. */
export interface SealedCloseEvent {
  type: 'close';
  code: number;
  reason: string;
  wasClean: boolean;
}

type Listener<Event> = ((event: Event) => unknown) | null;

/**
 * A `WebSocket` for graphql-transport-ws whose messages are sealed, to be handed to a graphql-ws client as
 * `webSocketImpl`. The client above sees plain messages; on the wire only `connection_init` and `connection_ack` are.
 *
 * opened → init sent (keys made, waits for the ack) → sealed → closed
 *
 * The first message must be a `connection_init` with a token: `send` throws a `SealError` (`token_missing`,
 * `token_unreadable`) otherwise. A frame that fails ends it: `onerror` with a `SealError`, then `onclose` with 4400.
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
  /** What the handshake needs, from `connection_init` on. */
  #init: { identity: Identity; keys: Promise<ClientKeys> } | undefined;
  #sealer: Sealer | undefined;
  #opener: Opener | undefined;
  /** Not yet sealed. What gathers while the one before is being sealed goes into one frame. */
  #waiting: string[] = [];
  #isSealing = false;
  /** Whatever comes is dealt with after what came before it. */
  #incoming: Promise<void> = Promise.resolve();
  #closing: { code: number; reason: string } | undefined;
  #isOver = false;

  constructor(url: string | URL, protocols?: string | string[]) {
    this.#socket = new WebSocket(url, protocols);
    this.#socket.binaryType = 'arraybuffer';
    this.#socket.addEventListener('open', (event) => tell(this.onopen, event));
    this.#socket.addEventListener('message', ({ data }) => this.#inTurn(() => this.#receive(data)));
    // A close always follows, and tells of both.
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

  /** Takes the JSON of one message. @throws {SealError} when the first one is no `connection_init` with a token */
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

  /** Sends what waits, and closes. Nothing is delivered any more. */
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

  /** Seals one frame after the other, so that they leave in the order of their nonces. */
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
    if (!(data instanceof ArrayBuffer)) throw new SealError('frame_refused', 'a message came that is not sealed');
    const text = readText(await this.#opener.open(new Uint8Array(data)));
    for (const message of messagesIn(text)) this.#deliver(message);
  }

  async #acknowledge(data: unknown): Promise<void> {
    if (!this.#init) throw new SealError('handshake_failed', 'a message came before connection_init was sent');
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

  /** Ends at once, without waiting for the other end: nothing that it says now is to be trusted. */
  #refuse(error: unknown): void {
    if (this.#isOver) return;
    const reason = error instanceof SealError ? error.code : 'internal';
    this.#socket.close(REFUSED_CODE, reason);
    this.#end({ type: 'close', code: REFUSED_CODE, reason, wasClean: false }, error);
  }

  /** Error and close in one go: a graphql-ws client that is back after the error takes a later close for the new one's. */
  #end(event: SealedCloseEvent, failure?: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#waiting = [];
    if (failure !== undefined) tell(this.onerror, failure);
    tell(this.onclose, event);
  }
}

/** A listener that throws is an uncaught error, as on any WebSocket, and no reason to distrust the connection. */
function tell<Event>(listener: Listener<Event>, event: Event): void {
  try {
    listener?.(event);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** What the server's plain `connection_ack` holds of keys. */
function answerIn(data: unknown): { serverPublicKey: string; salt: string } {
  const message = typeof data === 'string' ? parsed(data) : undefined;
  const { type, payload } = (message ?? {}) as { type?: unknown; payload?: Record<string, unknown> | null };
  const { protocol, serverPublicKey, salt } = payload ?? {};
  if (type !== 'connection_ack' || protocol !== STREAM_PROTOCOL) {
    throw new SealError('handshake_failed', `the server did not answer with a connection_ack of ${STREAM_PROTOCOL}`);
  }
  if (typeof serverPublicKey !== 'string' || typeof salt !== 'string') {
    throw new SealError('handshake_failed', 'connection_ack holds no serverPublicKey and salt');
  }
  return { serverPublicKey, salt };
}

/** The messages of a frame, each as JSON again; a single one as it came. */
function messagesIn(text: string): string[] {
  if (!text.trimStart().startsWith('[')) return [text];
  const messages = parsed(text);
  if (!Array.isArray(messages)) throw new SealError('frame_refused', 'a frame held no JSON');
  return messages.map((message) => JSON.stringify(message));
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function readText(bytes: Bytes): string {
  try {
    return readUtf8(bytes);
  } catch (error) {
    throw new SealError('frame_refused', 'a frame held no UTF-8', { cause: error });
  }
}
