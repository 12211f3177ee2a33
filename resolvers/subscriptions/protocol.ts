import type { IncomingHttpHeaders } from 'node:http';

import { execute, GraphQLError, type GraphQLFormattedError } from 'graphql';
import { CloseCode, type Context as ProtocolContext, makeServer, MessageType, type Server } from 'graphql-ws';

import { AppError, validationFailed } from '../../src/errors.ts';
import type { Actor } from '../../src/identity/actor.ts';
import type { Authenticate } from '../../src/identity/verify.ts';
import type { Subscriber } from '../../src/live/broadcast.ts';
import { acceptStream, type AcceptedStream, SealError, STREAM_PROTOCOL } from '../../src/live/seal.ts';
import type { Log } from '../../src/log.ts';
import { createContext } from '../server/context.ts';
import { asGraphQLError } from '../server/errors.ts';
import { prepareExecution, type OperationOptions } from '../server/operations.ts';
import { closeCode, type ConnectionParams, tenantIn, tokenIn } from './connect.ts';
import { type LiveServices, admitClient } from './client-admission.ts';
import { frameHeader, type SocketWriter } from './socket-writer.ts';
import { type SharedExecution, subscribeShared } from './shared-execution.ts';

export interface ProtocolOptions extends OperationOptions {
  live: LiveServices;
  authenticate: Authenticate;
  log: Log;
}

/** Longest id of an operation, in characters: it stands in every message. */
const MAX_ID = 256;

export const TRANSPORTS = { '/graphql': 'websocket', '/stream': 'stream' } as const;
export type Path = keyof typeof TRANSPORTS;

/** One open socket. It is kept small: there are many. */
export interface Connection {
  id: string;
  path: Path;
  traceId: string;
  /** Of the request that opened it, until the client is known. */
  headers: IncomingHttpHeaders;
  actor: Actor | undefined;
  writer: SocketWriter;
  /** Of `/stream`, once the keys are agreed. */
  stream: AcceptedStream | undefined;
  isSealed: boolean;
  isAlive: boolean;
  isClosed: boolean;
  /** What it runs, by id: also what its client has given up and that has not ended yet. */
  running: Map<string, Running>;
  close(code: number, reason: string): void;
  /** What is to be undone when it is closed. */
  endings: (() => void)[];
}

/** An operation between its beginning and its end. */
interface Running {
  stop(): void;
}

type Protocol = ProtocolContext<ConnectionParams, Connection>;

/** Speaks graphql-transport-ws with connections, whatever their frames look like. */
export function createProtocol(options: ProtocolOptions): Server<Connection> {
  const { core, limits, broadcasts, formatError } = options.live;
  const format = ({ extra }: Protocol, errors: readonly unknown[]): GraphQLFormattedError[] =>
    errors.map((error) => formatError(error, extra.traceId));

  return makeServer<ConnectionParams, Connection>({
    connectionInitWaitTimeout: limits.initTimeoutMs,
    onConnect: ({ connectionParams = {}, extra }) => connect(extra, connectionParams, options),
    onSubscribe: async ({ extra }, id, payload) => {
      if (extra.running.has(id)) {
        extra.close(CloseCode.SubscriberAlreadyExists, 'id in use');
        return [new GraphQLError('The id is in use.')];
      }
      if (id.length > MAX_ID) {
        return [asGraphQLError(validationFailed([{ path: 'id', message: `has at most ${MAX_ID} characters` }]))];
      }
      if (extra.writer.isFull() || extra.running.size >= limits.operationsPerSocket) {
        const message = `A connection runs ${limits.operationsPerSocket} operations at once, and none while it does not read.`;
        return [asGraphQLError(new AppError('rate_limited', message))];
      }
      const context = createContext(core, extra.actor, extra.traceId, extra.id);
      // From here on it counts, so that others which come meanwhile are counted against it.
      extra.running.set(id, { stop: () => {} });
      const args = await prepareExecution(payload, context, options);
      if (Array.isArray(args)) {
        extra.running.delete(id);
        return args;
      }
      const begun: Begun = { ...args, connection: extra, id };
      return begun;
    },
    execute: async (args) => {
      const { connection, id } = args as Begun;
      try {
        return await execute(args);
      } finally {
        connection.running.delete(id);
      }
    },
    subscribe: async (args) => {
      const { connection, id, ...shared } = args as Begun;
      const { running } = connection;
      const onEnd = (): void => void running.delete(id);
      try {
        const result = await subscribeShared(shared, new SocketSubscriber(connection, id), {
          broadcasts,
          formatError,
          onEnd,
        });
        if (Symbol.asyncIterator in result) running.set(id, { stop: () => void result.return() });
        else onEnd();
        return result;
      } catch (error) {
        onEnd();
        throw error;
      }
    },
    onOperation: (protocol, id, _payload, _args, result) => {
      // What could not even begin ends in an `error` message, like what does not parse, and not in a result.
      if (!('errors' in result) || result.data !== undefined || !(id in protocol.subscriptions)) return;
      delete protocol.subscriptions[id];
      const payload = format(protocol, result.errors ?? []);
      protocol.extra.writer.send(JSON.stringify({ id, type: MessageType.Error, payload }));
    },
    onError: (protocol, _id, _payload, errors) => format(protocol, errors),
    onNext: (protocol, _id, _payload, _args, result) =>
      result.errors ? { data: result.data ?? null, errors: format(protocol, result.errors) } : undefined,
  });
}

/** What an operation is executed with, from its beginning on. */
type Begun = SharedExecution & { connection: Connection; id: string };

/** What one subscription says goes out through its socket, with its id. */
class SocketSubscriber implements Subscriber<Buffer> {
  readonly #writer: SocketWriter;
  readonly #head: Buffer;

  constructor({ writer }: Connection, id: string) {
    this.#writer = writer;
    this.#head = frameHeader(id);
  }

  write(payloads: readonly Buffer[]): void {
    this.#writer.next(this.#head, payloads);
  }

  isFull(): boolean {
    return this.#writer.isFull();
  }

  drained(): Promise<void> {
    return this.#writer.drained();
  }
}

/** @returns what the acknowledgement says, or false where the client was turned away. */
async function connect(
  connection: Connection,
  params: ConnectionParams,
  { authenticate, live, log }: ProtocolOptions,
): Promise<Record<string, unknown> | false> {
  const { id, path, traceId, headers, endings } = connection;
  try {
    // A client seals for whom its own message names; what a proxy adds on the way must not name another.
    const around = path === '/stream' ? {} : headers;
    const actor = await authenticate(tokenIn(params, around), tenantIn(params, around));
    connection.headers = {};
    // A client that left meanwhile has been cleaned up after already.
    if (connection.isClosed) return false;
    if (path === '/stream') connection.stream = agree(params, actor);
    connection.actor = actor;
    const onEnd = (reason: AppError): void => connection.close(...closeCode(reason));
    endings.push(admitClient(live, { id, actor, transport: TRANSPORTS[path], onEnd }));
    const { stream } = connection;
    return {
      clientId: id,
      ...(stream && { protocol: STREAM_PROTOCOL, serverPublicKey: stream.serverPublicKey, salt: stream.salt }),
    };
  } catch (error) {
    if (!(error instanceof AppError)) log.error({ error, trace_id: traceId }, 'connection failed');
    connection.close(...closeCode(error));
    return false;
  }
}

function agree({ clientPublicKey }: ConnectionParams, { tenantId, userId }: Actor): AcceptedStream {
  const refuseKey = (message: string): AppError => validationFailed([{ path: 'clientPublicKey', message }]);
  if (typeof clientPublicKey !== 'string') throw refuseKey('is required: this connection is encrypted');
  try {
    return acceptStream({ clientPublicKey, tenantId, userId });
  } catch (error) {
    if (error instanceof SealError) throw refuseKey(error.message);
    throw error;
  }
}
