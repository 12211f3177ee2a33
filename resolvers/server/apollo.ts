import { ApolloServer } from '@apollo/server';
import {
  ApolloServerPluginCacheControlDisabled,
  ApolloServerPluginLandingPageDisabled,
  ApolloServerPluginUsageReportingDisabled,
} from '@apollo/server/plugin/disabled';

import type { Log } from '../../src/log.ts';
import type { GraphContext } from './context.ts';
import type { FormatError } from './errors.ts';
import type { OperationOptions } from './operations.ts';
import { costPlugin } from './plugins/cost.ts';
import { drainPlugin } from './plugins/drain.ts';
import { errorFormatPlugin } from './plugins/error-format.ts';
import { foreignAccessPlugin } from './plugins/foreign-access.ts';
import { limitsPlugin } from './plugins/limits.ts';
import { permissionsPlugin } from './plugins/permissions.ts';
import { tracingPlugin } from './plugins/tracing.ts';
import { transportPlugin } from './plugins/transport.ts';
import { MAX_TOKENS } from './query-limits.ts';

/** A browser asks the other site's permission before it sends one of these headers, so a foreign page cannot send one. */
const CSRF_HEADERS = ['apollo-require-preflight', 'x-apollo-operation-name', 'graphql-require-preflight'];

export interface ApolloOptions extends OperationOptions {
  formatError: FormatError;
  log: Log;
  /** Stops the HTTP server: no new requests, those that run are answered. */
  drain: () => Promise<void>;
}

/**
 * Builds the Apollo Server that executes each query and mutation over HTTP, and starts it. Our rules are its plugins, in
 * the order in which the first refusal wins; each plugin calls the function that the WebSocket, SSE and callback
 * transports call too.
 */
export async function startApolloServer(options: ApolloOptions): Promise<ApolloServer<GraphContext>> {
  const { schema, isSchemaOpen, persisted, assertCost, formatError, log, drain } = options;
  const server = new ApolloServer<GraphContext>({
    schema,
    logger: log,
    nodeEnv: isSchemaOpen ? 'development' : 'production',
    // `permissionsPlugin` decides who may read the schema.
    introspection: true,
    hideSchemaDetailsFromClientErrors: !isSchemaOpen,
    includeStacktraceInErrorResponses: false,
    csrfPrevention: { requestHeaders: CSRF_HEADERS },
    persistedQueries: { cache: persisted.store },
    // `limitsPlugin` gives the documents: the cache is then bounded by memory and shared by all transports.
    documentStore: null,
    parseOptions: { maxTokens: MAX_TOKENS },
    stringifyResult: (result) => JSON.stringify(result),
    stopOnTerminationSignals: false,
    plugins: [
      limitsPlugin(options),
      permissionsPlugin(options),
      costPlugin(assertCost),
      foreignAccessPlugin,
      transportPlugin,
      errorFormatPlugin(formatError),
      tracingPlugin(),
      drainPlugin(drain),
      ApolloServerPluginCacheControlDisabled(),
      ApolloServerPluginUsageReportingDisabled(),
      ApolloServerPluginLandingPageDisabled(),
    ],
  });
  await server.start();
  return server;
}
