import { listenToSignals } from '../../consumers/signals.ts';
import { unsubscribeRoutes } from '../../consumers/unsubscribe.ts';
import { graphiqlRoutes } from '../../resolvers/graphiql/graphiql.ts';
import { mailboxRoutes } from '../../resolvers/mailbox/mailbox.ts';
import { startApolloServer } from '../../resolvers/server/apollo.ts';
import { createDocuments } from '../../resolvers/server/documents.ts';
import { graphHttpRoutes } from '../../resolvers/server/http.ts';
import { indexPage, isLoopback } from '../../resolvers/server/index-page.ts';
import { createPersistedOperations, loadTrustedOperations } from '../../resolvers/server/persisted.ts';
import { createCostLimit } from '../../resolvers/server/query-limits.ts';
import { buildGraph } from '../../resolvers/server/schema.ts';
import { createLiveServices } from '../../resolvers/subscriptions/client-admission.ts';
import { liveSockets } from '../../resolvers/subscriptions/sockets.ts';
import type { HttpClient } from '../channels/http-client.ts';
import { createMailbox } from '../channels/sandbox.ts';
import type { CleanupStack } from '../cleanup.ts';
import type { Config } from '../config.ts';
import type { Core } from '../core.ts';
import type { Database } from '../database/database.ts';
import type { HttpServer } from '../http-server.ts';
import type { Authenticate } from '../identity/verify.ts';
import type { Bus } from '../live/bus.ts';
import type { Log } from '../log.ts';
import { unsubscribe, type UnsubscribeLinks } from '../preferences/unsubscribe.ts';

export interface ApiRoleOptions {
  config: Config;
  core: Core;
  database: Database;
  bus: Bus;
  authenticate: Authenticate;
  http: HttpClient;
  links: UnsubscribeLinks | undefined;
  /** Returns a token for the link to GraphiQL on the page at `/`. Used only in dev on a loopback address. */
  graphiqlToken?: (() => string | undefined) | undefined;
  log: Log;
}

/** Starts the role `api`: GraphQL over every transport, GraphiQL, the mailbox and the unsubscribe page. */
export async function startApiRole(
  app: HttpServer,
  { config, core, database, bus, authenticate, http, links, graphiqlToken, log }: ApiRoleOptions,
  parts: CleanupStack,
): Promise<void> {
  if (links) await app.register(unsubscribeRoutes, { links, unsubscribe: (subject) => unsubscribe(database, subject) });
  const isSchemaOpen = config.environment === 'dev';
  const schema = await buildGraph(core);
  const operations = {
    schema,
    isSchemaOpen,
    checkDocument: createDocuments(schema),
    assertCost: createCostLimit(schema),
    persisted: createPersistedOperations(config.trustedOperationsOnly ? await loadTrustedOperations() : undefined),
  };
  const live = createLiveServices({ core, limits: config.live, log, isSchemaOpen });
  const apollo = await startApolloServer({
    ...operations,
    formatError: live.formatError,
    log,
    drain: () => app.close(),
  });
  parts.defer(() => apollo.stop());
  // Streams are closed first, because the HTTP server waits for every running request.
  parts.defer(() => live.close());
  await app.register(graphHttpRoutes, {
    ...operations,
    apollo,
    live,
    authenticate,
    http,
    callbackUrls: config.callbackUrls,
  });
  await app.register(graphiqlRoutes);
  if (config.environment === 'dev') await app.register(mailboxRoutes, { mailbox: createMailbox(database) });
  const isDev = config.environment === 'dev';
  await app.register(indexPage, {
    isDev,
    authenticate,
    graphiqlToken: isDev && isLoopback(config.serviceHost) ? graphiqlToken : undefined,
  });
  parts.defer(listenToSignals({ bus, topicFeeds: core.topicFeeds, log }));
  parts.defer(liveSockets({ ...operations, server: app.server, live, authenticate, log }));
}
