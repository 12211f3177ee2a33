import {
  createSourceEventStream,
  execute,
  type ExecutionArgs,
  type ExecutionResult,
  getOperationAST,
  GraphQLError,
  Kind,
  visit,
} from 'graphql';

import { AppError } from '../../src/errors.ts';
import { type Operation, type Subscriber } from '../../src/live/broadcast.ts';
import type { GraphContext } from '../server/context.ts';
import type { FormatError } from '../server/errors.ts';
import type { LiveServices } from './client-admission.ts';
import { LiveSource } from './source.ts';

/** Arguments of a subscription whose results are written to a subscriber as serialized payloads. */
export interface SharedExecution extends ExecutionArgs {
  contextValue: GraphContext;
  /** The document's text. */
  query: string;
}

/** Yields no values and ends when the subscription ends. */
type SharedSubscription = AsyncIterableIterator<never, undefined> & Required<AsyncIterator<never, undefined>>;

/** Maximum length of document and variables of a subscription, in characters. They stay in memory while it runs. */
const MAX_KEPT = 32 * 1024;

export interface SharingOptions extends Pick<LiveServices, 'broadcasts' | 'formatError'> {
  /** Called once when a started subscription ends. */
  onEnd?: () => void;
}

/**
 * Starts a subscription. Each event is executed and serialized once for all subscribers with the same operation.
 *
 * @returns an iterator that yields no values and ends when the subscription ends, or the errors when it did not start.
 */
export async function subscribeShared(
  args: SharedExecution,
  subscriber: Subscriber<Buffer>,
  { broadcasts, formatError, onEnd }: SharingOptions,
): Promise<SharedSubscription | ExecutionResult> {
  if (args.query.length + JSON.stringify(args.variableValues ?? {}).length > MAX_KEPT) {
    const message = `The subscription and its variables exceed ${MAX_KEPT} characters.`;
    return { errors: [new GraphQLError(message, { originalError: new AppError('query_too_complex', message) })] };
  }
  const source = await createSourceEventStream(args);
  if (!(Symbol.asyncIterator in source)) return source;
  if (!(source instanceof LiveSource))
    throw new Error('the `subscribe` function of a subscription must return a LiveSource');

  const ended = Promise.withResolvers<IteratorResult<never, undefined>>();
  // Avoids an unhandled rejection when no caller waits any more.
  ended.promise.catch(() => {});
  const leaveFeed = broadcasts.join(source.feed, operationOf(args, formatError), subscriber, ended.reject);
  let isOver = false;
  const leave = (): void => {
    if (isOver) return;
    isOver = true;
    leaveFeed();
    onEnd?.();
  };
  const end = async (): Promise<IteratorResult<never, undefined>> => {
    leave();
    ended.resolve({ done: true, value: undefined });
    return ended.promise;
  };
  const subscription: SharedSubscription = {
    next: async () => {
      try {
        return await ended.promise;
      } finally {
        leave();
      }
    },
    return: end,
    throw: end,
    [Symbol.asyncIterator]: () => subscription,
  };
  return subscription;
}

function operationOf(args: SharedExecution, formatError: FormatError): Operation<unknown, Buffer> {
  const { contextValue: context } = args;
  const permissions = [...(context.actor?.permissions ?? [])].toSorted();
  return {
    key: JSON.stringify([
      args.query,
      args.operationName ?? null,
      renderingVariables(args),
      permissions,
      context.actor?.isSuperadmin ?? false,
    ]),
    render: async (item) => {
      const { data = null, errors } = await execute({ ...args, rootValue: item });
      const formatted = errors?.map((error) => formatError(error, context.traceId));
      return Buffer.from(JSON.stringify({ data, ...(formatted && { errors: formatted }) }));
    },
  };
}

/**
 * Returns the variables that affect the content of a message. Arguments of the subscription field only select the items
 * of the feed, so that subscribers with different cursors share the execution.
 */
function renderingVariables({ document, operationName, variableValues }: ExecutionArgs): Record<string, unknown> {
  const operation = getOperationAST(document, operationName);
  const roots = new Set<unknown>(operation?.selectionSet.selections);
  const used: Record<string, unknown> = {};
  visit(document, {
    VariableDefinition: () => false,
    Argument: (_node, _key, _parent, _path, ancestors) => {
      const owner = ancestors.findLast((ancestor) => 'kind' in ancestor && ancestor.kind === Kind.FIELD);
      const isOfDirective = ancestors.some((ancestor) => 'kind' in ancestor && ancestor.kind === Kind.DIRECTIVE);
      return !isOfDirective && roots.has(owner) ? false : undefined;
    },
    Variable: ({ name }) => {
      used[name.value] = variableValues?.[name.value];
    },
  });
  return used;
}
