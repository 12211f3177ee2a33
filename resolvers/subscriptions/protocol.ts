import type { IncomingHttpHeaders } from 'node:http';

import { execute, GraphQLError, type GraphQLFormattedError } from 'graphql';
import { CloseCode, type Context as ProtocolContext, makeServer, MessageType, type Server } from 'graphql-ws';

import { AppError, validationFailed } from '../../src/errors.ts';
import { exactReviver } from '../../src/exact-json.ts';
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

/** Maximum length of an operation id, in characters. Every message contains it. */
const MAX_ID = 256;

export const TRANSPORTS = { '/graphql': 'websocket', '/stream': 'stream' } as const;
export type Path = keyof typeof TRANSPORTS;

/** One open socket. Kept small, because there are many. */
export interface Connection {
  id: string;
  path: Path;
  traceId: string;
  /** Headers of the upgrade request. Cleared after authentication to save memory. */
  headers: IncomingHttpHeaders;
  actor: Actor | undefined;
  writer: SocketWriter;
  /** Set on `/stream` after the key exchange. */
  stream: AcceptedStream | undefined;
  isSealed: boolean;
  isAlive: boolean;
  isClosed: boolean;
  /** Running operations by id, including those that the client has cancelled but that have not ended yet. */
  running: Map<string, Running>;
  close(code: number, reason: string): void;
  /** Functions to call when the socket is closed. */
  endings: (() => void)[];
}

/** A running operation. */
interface Running {
  stop(): void;
}

type Protocol = ProtocolContext<ConnectionParams, Connection>;

/** Creates the graphql-transport-ws server for both kinds of sockets. */
export function createProtocol(options: ProtocolOptions): Server<Connection> {
  const { core, limits, broadcasts, formatError } = options.live;
  const format = ({ extra }: Protocol, errors: readonly unknown[]): GraphQLFormattedError[] =>
    errors.map((error) => formatError(error, extra.traceId));

  return makeServer<ConnectionParams, Connection>({
    jsonMessageReviver: exactReviver,
    connectionInitWaitTimeout: limits.initTimeoutMs,
    onConnect: ({ connectionParams = {}, extra }) => connect(extra, connectionParams, options),
    onSubscribe: async ({ extra }, id, payload) => {
      if (extra.running.has(id)) {
        extra.close(CloseCode.SubscriberAlreadyExists, 'id in use');
        return [new GraphQLError('The connection already runs an operation with this id. Use a new id.')];
      }
      if (id.length > MAX_ID) {
        return [asGraphQLError(validationFailed([{ path: 'id', message: `exceeds ${MAX_ID} characters` }]))];
      }
      if (extra.running.size >= limits.operationsPerSocket) {
        const message = `The connection has reached the limit of ${limits.operationsPerSocket} operations.`;
        return [asGraphQLError(new AppError('rate_limited', message))];
      }
      if (extra.writer.isFull()) {
        const message = 'The send buffer of the connection is full. Read the pending messages first.';
        return [asGraphQLError(new AppError('rate_limited', message))];
      }
      const context = createContext(core, extra.actor, extra.traceId, extra.id);
      // Counted before the first await, so that concurrent operations cannot exceed the limit.
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
      // A subscription that failed to start ends with an `error` message instead of a result.
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

/** Arguments of the execution of a started operation. */
type Begun = SharedExecution & { connection: Connection; id: string };

/** Writes the messages of one subscription to its socket. */
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

/** Authenticates a client. @returns the payload of `connection_ack`; false when the client was refused. */
async function connect(
  connection: Connection,
  params: ConnectionParams,
  { authenticate, live, log }: ProtocolOptions,
): Promise<Record<string, unknown> | false> {
  const { id, path, traceId, headers, endings } = connection;
  try {
    // On `/stream` only the payload counts: the client derives keys for the user in it, and a proxy could add other
    // headers.
    const trustedHeaders = path === '/stream' ? {} : headers;
    const actor = await authenticate(tokenIn(params, trustedHeaders), tenantIn(params, trustedHeaders));
    connection.headers = {};
    // The client disconnected meanwhile, and its endings have already run.
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
  if (typeof clientPublicKey !== 'string') throw refuseKey('is required, because connections to /stream are encrypted');
  try {
    return acceptStream({ clientPublicKey, tenantId, userId });
  } catch (error) {
    if (error instanceof SealError) throw refuseKey(error.message);
    throw error;
  }
}
