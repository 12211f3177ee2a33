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
import { compiledPlugin } from './plugins/compiled.ts';
import { costPlugin } from './plugins/cost.ts';
import { drainPlugin } from './plugins/drain.ts';
import { errorFormatPlugin } from './plugins/error-format.ts';
import { foreignAccessPlugin } from './plugins/foreign-access.ts';
import { limitsPlugin } from './plugins/limits.ts';
import { permissionsPlugin } from './plugins/permissions.ts';
import { tracingPlugin } from './plugins/tracing.ts';
import { transportPlugin } from './plugins/transport.ts';
import { MAX_TOKENS } from './query-limits.ts';

/**
 * A browser sends a CORS preflight before a cross-site request with one of these headers, so other sites cannot send
 * it.
 */
const CSRF_HEADERS = ['apollo-require-preflight', 'x-apollo-operation-name', 'graphql-require-preflight'];

export interface ApolloOptions extends OperationOptions {
  formatError: FormatError;
  log: Log;
  /** Stops accepting HTTP requests and waits for the running ones. */
  drain: () => Promise<void>;
}

/**
 * Creates and starts the Apollo Server that executes queries and mutations over HTTP. Our rules are plugins. The first
 * plugin that refuses an operation determines its error. The WebSocket, SSE and callback transports call the same
 * functions as the plugins.
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
    // `limitsPlugin` provides the documents from a cache that is bounded by memory and shared by all transports.
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
      compiledPlugin(schema),
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
