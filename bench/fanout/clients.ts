import { randomUUID } from 'node:crypto';

import type { Target } from './contestant.ts';
import { type CreateDialect, createDialect as plain, type Dialect } from './dialect.ts';
import { LeanSocket } from './socket.ts';

// Load generator, in a separate process: opens sockets, subscribes once on each and counts the received messages.

export type Command =
  | { do: 'open'; target: Target; params: Record<string, unknown>[] }
  | { do: 'subscribe' }
  /** Replies when this total number of messages has been delivered. */
  | { do: 'expect'; delivered: number }
  | { do: 'count' }
  | { do: 'forget' }
  | { do: 'close' };

/** Reply to each command. */
export interface Counts {
  clients: number;
  delivered: number;
  /** Lowest and highest count of a single client. */
  fewest: number;
  most: number;
}

/** Maximum number of concurrent handshakes. More would wait in the server's backlog. */
const AT_ONCE = 100;

let clients: Client[] = [];
let delivered = 0;
let awaited = Number.POSITIVE_INFINITY;

class Client {
  delivered = 0;
  readonly ready: Promise<void>;
  readonly #target: Target;
  readonly #dialect: Dialect;
  readonly #socket: LeanSocket;
  #acknowledged = false;
  #resolve = (): void => {};

  constructor(target: Target, params: Record<string, unknown>, dialect: Dialect) {
    this.#target = target;
    this.#dialect = dialect;
    this.ready = new Promise((resolve) => (this.#resolve = resolve));
    this.#socket = new LeanSocket(new URL(target.url), {
      opened: () => this.#socket.send(JSON.stringify({ type: 'connection_init', payload: dialect.init(params) })),
      frame: (bytes, start, end) => this.#frame(bytes, start, end),
      closed: (why) => fail(why),
    });
  }

  subscribe(): void {
    const { query, variables } = this.#target;
    // A unique id, as real clients have, so that a server cannot send the same frame to all sockets.
    const message = { id: randomUUID(), type: 'subscribe', payload: { query, variables } };
    this.#socket.send(this.#dialect.encode(JSON.stringify(message)));
  }

  close(): void {
    this.#socket.close();
  }

  #frame(bytes: Buffer, start: number, end: number): void {
    if (!this.#acknowledged) return this.#acknowledge(bytes.toString('utf8', start, end));
    const found = this.#dialect.count(bytes, start, end);
    this.delivered += found;
    delivered += found;
    if (delivered >= awaited) answer();
  }

  #acknowledge(text: string): void {
    const { type, payload } = JSON.parse(text) as { type: string; payload?: unknown };
    if (type !== 'connection_ack') return;
    this.#acknowledged = true;
    this.#dialect.acknowledged(payload);
    this.#resolve();
  }
}

function fail(why: string): void {
  process.stderr.write(`a client lost its socket: ${why}\n`);
  process.exit(1);
}

function answer(): void {
  awaited = Number.POSITIVE_INFINITY;
  let [fewest, most] = [Number.POSITIVE_INFINITY, 0];
  for (const client of clients) {
    fewest = Math.min(fewest, client.delivered);
    most = Math.max(most, client.delivered);
  }
  process.send?.({ clients: clients.length, delivered, fewest, most } satisfies Counts);
}

async function open(target: Target, params: Record<string, unknown>[]): Promise<void> {
  const { createDialect } = target.dialect
    ? ((await import(target.dialect)) as { createDialect: CreateDialect })
    : { createDialect: plain };
  for (let from = 0; from < params.length; from += AT_ONCE) {
    const some = params.slice(from, from + AT_ONCE).map((one) => new Client(target, one, createDialect()));
    clients.push(...some);
    await Promise.all(some.map((client) => client.ready));
  }
}

function forget(): void {
  delivered = 0;
  for (const client of clients) client.delivered = 0;
}

async function obey(command: Command): Promise<void> {
  if (command.do === 'expect') {
    awaited = command.delivered;
    if (delivered >= awaited) answer();
    return;
  }
  if (command.do === 'open') await open(command.target, command.params);
  else if (command.do === 'subscribe') for (const client of clients) client.subscribe();
  else if (command.do === 'forget') forget();
  else if (command.do === 'close') {
    for (const client of clients) client.close();
    clients = [];
    delivered = 0;
  }
  answer();
}

process.on('message', (command: Command) => void obey(command).catch((error: unknown) => fail(String(error))));
process.on('disconnect', () => process.exit(0));
