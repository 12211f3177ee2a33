import type { AddressInfo } from 'node:net';

import { fastify, LogController } from 'fastify';

import { eventRoutes } from '../consumers/http.ts';
import { startKafkaConsumer } from '../consumers/kafka.ts';
import type { Control } from '../consumers/inputs.ts';
import { isControl } from '../consumers/inputs.ts';
import { reparse } from '../consumers/reparse.ts';
import { listenToSignals } from '../consumers/signals.ts';
import { unsubscribeRoutes } from '../consumers/unsubscribe.ts';
import { graphiqlRoutes } from '../resolvers/graphiql/graphiql.ts';
import { startApolloServer } from '../resolvers/server/apollo.ts';
import { graphHttpRoutes } from '../resolvers/server/http.ts';
import { createCostLimit } from '../resolvers/server/query-limits.ts';
import { mailboxRoutes } from '../resolvers/mailbox/mailbox.ts';
import { createPersistedOperations, loadTrustedOperations } from '../resolvers/server/persisted.ts';
import { buildGraph } from '../resolvers/server/schema.ts';
import { createDocuments } from '../resolvers/server/documents.ts';
import { createLiveServices } from '../resolvers/subscriptions/client-admission.ts';
import { liveSockets } from '../resolvers/subscriptions/sockets.ts';
import { createAuditEvents } from './audit/events.ts';
import { startAuditRelay } from './audit/relay.ts';
import { createHttpClient, type HttpClient } from './channels/http-client.ts';
import { createProviders, providerSchemas } from './channels/registry.ts';
import { createMailbox, sandboxProvider } from './channels/sandbox.ts';
import { type Config, ConfigError, readConfig } from './config.ts';
import type { Core } from './core.ts';
import { type Database, openDatabase } from './database/database.ts';
import { startEmbeddedDatabase } from './database/embedded.ts';
import { migrate } from './database/migrate.ts';
import { circuitReporter } from './delivery/circuit-breaker-report.ts';
import { createDeliveryControl } from './delivery/control.ts';
import { startDispatcher } from './delivery/dispatcher.ts';
import { createBulkheads } from './delivery/bulkheads.ts';
import { createDeliveryLogs, queueSizes } from './delivery/logs.ts';
import type { ProcessMode } from './delivery/mode.ts';
import type { PlanBatchOptions } from './delivery/plan-batch.ts';
import { createAccess } from './identity/access.ts';
import type { DevIdentity } from './identity/dev-keys.ts';
import { verificationKeys } from './identity/keys.ts';
import { createRevocations } from './identity/revocations.ts';
import { type Authenticate, createAuthenticator } from './identity/verify.ts';
import { createPolicyDefinitions } from './inbox/policies.ts';
import { createInbox } from './inbox/notifications.ts';
import { createIntake } from './intake/intake.ts';
import { createRejectedEvents } from './intake/rejected-events.ts';
import { createKeyring } from './keyring.ts';
import { type Bus, topics } from './live/bus.ts';
import { memoryBus } from './live/bus-memory.ts';
import { redisBus } from './live/bus-redis.ts';
import { createClients } from './live/clients.ts';
import { createInboxFeeds } from './live/inbox-feeds.ts';
import { createLogFeeds } from './live/log-feeds.ts';
import { createTopicFeeds } from './live/topic-feeds.ts';
import { createLog, type Log } from './log.ts';
import { type Checks, healthRoutes } from './observability/health.ts';
import { createMetrics, metricsRoutes } from './observability/metrics.ts';
import { createErasures } from './privacy/erase.ts';
import { type PrivacyJobs, startPrivacyJobs } from './privacy/jobs.ts';
import { createPreferences } from './preferences/preferences.ts';
import { createRecipientEligibility } from './preferences/recipient-eligibility.ts';
import { createSuppressions } from './preferences/suppressions.ts';
import { unsubscribe, type UnsubscribeLinks, unsubscribeLinks } from './preferences/unsubscribe.ts';
import { createTemplateEditing } from './templates/editing.ts';
import { createTemplateLookup } from './templates/lookup.ts';
import { createTemplates } from './templates/templates.ts';
import { createChannelConfigs } from './tenants/channel-configs.ts';
import { noTenantFiles, tenantFiles } from './tenants/files.ts';
import { allSecretsReader, isSecretReference, secretReader } from './tenants/secrets.ts';
import { createTenantSettings, type TenantSettings } from './tenants/settings.ts';

export interface Service {
  /** Where it listens, e.g. `http://127.0.0.1:8080`. */
  url: string;
  core: Core;
  /** Only in dev, and only where no keys are configured: makes tokens that this service accepts. */
  devIdentity: DevIdentity | undefined;
  /** Takes in no more, finishes and records what is in hand, and lets go of everything in reverse order. */
  close(): Promise<void>;
}

export interface ServiceOptions {
  log?: Log;
  /** The embedded database is thrown away at the end. */
  ephemeral?: boolean;
}

/**
 * Builds every part once, hands them to each other, and starts the roles that were asked for.
 * The one place that sees everything.
 */
export async function startService(config: Config, options: ServiceOptions = {}): Promise<Service> {
  const log = options.log ?? createLog(config.logLevel);
  await using parts = new AsyncDisposableStack();

  const { databaseUrl, databaseOwnerUrl } = await databaseUrls(config, log, options.ephemeral ?? false, parts);
  const ran = await migrate(databaseOwnerUrl);
  if (ran.length > 0) log.info({ migrations: ran }, 'database migrated');
  const metrics = createMetrics({ queueSize: () => queueSizes(database) });
  const database = openDatabase({
    url: databaseUrl,
    log,
    keepsPlans: config.databaseKeepsPlans,
    onTransaction: metrics.databaseLatency,
  });
  parts.defer(() => database.close());

  const bus = config.redisUrls.length > 0 ? redisBus({ urls: config.redisUrls, log }) : memoryBus();
  parts.defer(() => bus.close());

  const templateLookup = createTemplateLookup(database);
  const forget = (tenantId?: string): void => {
    settings.forget(tenantId);
    templateLookup.forget(tenantId);
  };
  const configChanged = (tenantId: string): void => {
    forget(tenantId);
    bus.publish(topics.config, tenantId);
  };
  const settings = createTenantSettings({
    database,
    files: config.tenantConfigSecretPath
      ? tenantFiles(config.tenantConfigSecretPath, log, metrics.configLoadError)
      : noTenantFiles,
    defaults: {
      defaultLocale: 'en',
      channels: config.smtpProviderSecret
        ? {
            email: [
              { provider: 'smtp', name: 'smtp', config: { url: config.smtpProviderSecret }, origin: 'environment' },
            ],
          }
        : {},
    },
    onChanged: configChanged,
  });
  bus.subscribe(topics.config, (tenantId) => forget(String(tenantId)));
  bus.onGap(() => forget());

  const keyring = createKeyring(config.dataKeys);
  const logs = createDeliveryLogs(database, keyring);
  const revocations = await createRevocations({ database, bus, log });
  parts.defer(() => revocations.close());
  const clients = createClients({ database, log, heartbeatMs: config.liveHeartbeatMs });
  parts.defer(() => clients.close());
  const control: Control = async (event) => {
    if (event.kind === 'config-updated') configChanged(event.tenantId);
    else await revocations.revoke(event.revocation);
  };
  const processMode: ProcessMode = { current: config.deliveryMode };
  let privacyJobs: PrivacyJobs | undefined;
  const report = circuitReporter(database, log);
  const bulkheads = createBulkheads({
    onChange: (key, circuit) => {
      report(key, circuit);
      metrics.circuit(key, circuit.state);
    },
  });
  const links = await linksOf(config);
  const planning: PlanBatchOptions = {
    settings,
    templates: templateLookup,
    reach: createRecipientEligibility(database),
    bulkheads,
    unsubscribeLinks: links,
    mode: () => processMode.current,
    log,
  };
  const loadSettings = async (tenantId: string): Promise<TenantSettings> =>
    (await settings.load([tenantId])).get(tenantId) as TenantSettings;
  const intake = createIntake({ database, bus, log, onAccepted: metrics.received });
  const core: Core = {
    access: createAccess(revocations),
    audit: createAuditEvents(database),
    channelConfigs: createChannelConfigs({
      database,
      settings,
      keyring,
      schemas: await providerSchemas(),
      onChanged: configChanged,
    }),
    clients,
    delivery: createDeliveryControl({ database, bus, settings, planning, processMode, log }),
    policies: createPolicyDefinitions(database),
    preferences: createPreferences({
      database,
      categoriesOf: async (tenantId) => (await loadSettings(tenantId)).categories,
    }),
    rejectedEvents: createRejectedEvents({
      database,
      intake,
      reparse: async (event) => {
        const input = reparse(event);
        if (!isControl(input)) return input;
        await control(input);
        return 'applied';
      },
    }),
    suppressions: createSuppressions(database),
    erasures: createErasures(database, () => privacyJobs?.wake()),
    inbox: createInbox({ database, bus }),
    inboxFeeds: createInboxFeeds({ database, bus }),
    intake,
    log,
    logFeeds: createLogFeeds({ bus, logs }),
    logs,
    settings,
    templateEditing: createTemplateEditing({ database, onChanged: configChanged }),
    templates: createTemplates({ database, onChanged: configChanged }),
    topicFeeds: createTopicFeeds({ database, log }),
  };

  const http = createHttpClient([]);
  parts.defer(() => http.close());
  const checks: Checks = { database: () => database.ping(), bus: () => bus.ping() };

  if (config.roles.has('dispatcher')) {
    const { outboundAllow, mailThreads, deliveryLeaseMs } = config;
    const readSecret = allSecretsReader(config.secretsPath, keyring);
    const providers = createProviders({ readSecret, outboundAllow, mailThreads });
    parts.defer(() => providers.close());
    const dispatcher = startDispatcher({
      ...planning,
      database,
      bus,
      providers,
      sandbox: sandboxProvider(database),
      bulkheads,
      keyring,
      leaseMs: deliveryLeaseMs,
      onEnded: metrics.settled,
    });
    processMode.onChanged = () => dispatcher.wake();
    parts.defer(() => dispatcher.close());
    const jobs = startPrivacyJobs({ database, settings, log });
    privacyJobs = jobs;
    parts.defer(() => jobs.close());
    if (config.auditServiceEndpoint !== undefined) {
      const relay = startAuditRelay({ database, http, endpoint: config.auditServiceEndpoint, log });
      parts.defer(() => relay.close());
    }
  }

  if (config.roles.has('consumer') && config.kafka) {
    const consumer = startKafkaConsumer({
      config: config.kafka,
      pubsubTopic: config.pubsubTopic,
      intake: core.intake,
      control,
      log,
    });
    parts.defer(() => consumer.close());
    checks['kafka'] = () => consumer.ping();
  }

  const { keys, check, dev } = await verificationKeys({ ...config.identity, dataPath: config.dataPath });
  if (check) checks['keys'] = check;
  const { issuer, audience } = config.identity;
  const authenticate = createAuthenticator({
    keys,
    isRevoked: (actor) => revocations.isRevoked(actor),
    ...(issuer === undefined ? {} : { issuer }),
    ...(audience === undefined ? {} : { audience }),
  });

  const app = createApp(log);
  parts.defer(() => app.close());
  await app.register(healthRoutes, { checks });
  await app.register(metricsRoutes, { metrics });
  if (config.roles.has('consumer')) {
    await app.register(eventRoutes, { authenticate, intake: core.intake, control, log });
  }
  if (config.roles.has('api') && links) {
    await app.register(unsubscribeRoutes, { links, unsubscribe: (subject) => unsubscribe(database, subject) });
  }
  if (config.roles.has('api')) {
    await serveGraph(app, { config, core, database, bus, authenticate, http, log }, parts);
  }
  await app.listen({ port: config.servicePort, host: config.serviceHost });

  const running = parts.move();
  const { port } = app.server.address() as AddressInfo;
  const host = config.serviceHost === '0.0.0.0' ? '127.0.0.1' : config.serviceHost;
  const url = `http://${host}:${port}`;
  log.info({ url, roles: [...config.roles], environment: config.environment }, 'service is up');
  return { url, core, devIdentity: dev, close: () => running.disposeAsync() };
}

const createApp = (log: Log) =>
  fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    forceCloseConnections: 'idle',
    // Java's client offers HTTP/2 on every request, and goes on without where the offer is passed over.
    http: { shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() === 'websocket' },
  });

interface GraphParts {
  config: Config;
  core: Core;
  database: Database;
  bus: Bus;
  authenticate: Authenticate;
  http: HttpClient;
  log: Log;
}

/** GraphQL over everything that carries it, and the pages beside it. */
async function serveGraph(
  app: ReturnType<typeof createApp>,
  { config, core, database, bus, authenticate, http, log }: GraphParts,
  parts: AsyncDisposableStack,
): Promise<void> {
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
  // Streams end first: the HTTP server waits for every request that runs.
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
  parts.defer(listenToSignals({ bus, topicFeeds: core.topicFeeds, log }));
  parts.defer(liveSockets({ ...operations, server: app.server, live, authenticate, log }));
}

async function databaseUrls(
  { databaseUrl, databaseOwnerUrl = databaseUrl, dataPath }: Config,
  log: Log,
  ephemeral: boolean,
  parts: AsyncDisposableStack,
): Promise<{ databaseUrl: string; databaseOwnerUrl: string }> {
  if (databaseUrl !== undefined && databaseOwnerUrl !== undefined) return { databaseUrl, databaseOwnerUrl };
  const server = await startEmbeddedDatabase({ dataPath, ephemeral, log });
  parts.defer(() => server.stop());
  return { databaseUrl: server.url, databaseOwnerUrl: server.ownerUrl };
}

/** Links in mails, where the service is told its address: they have to work from outside. */
async function linksOf({ publicUrl, linkSecret, secretsPath }: Config): Promise<UnsubscribeLinks | undefined> {
  if (publicUrl === undefined || linkSecret === undefined) return undefined;
  const key = isSecretReference(linkSecret) ? await secretReader(secretsPath)(linkSecret) : linkSecret;
  return unsubscribeLinks({ publicUrl, key });
}

const SHUTDOWN_LIMIT_MS = 30_000;

/** Runs a service until the process is told to stop. */
export async function runUntilStopped(service: Service, log: Log): Promise<void> {
  const signal = await new Promise<NodeJS.Signals>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, resolve);
  });
  log.info({ signal }, 'stopping');
  setTimeout(() => {
    log.fatal('did not stop in time; what was in hand is taken up again when its lease runs out');
    process.exit(1);
  }, SHUTDOWN_LIMIT_MS).unref();
  await service.close();
  log.info('stopped');
}

if (import.meta.main) {
  try {
    const config = readConfig(process.env);
    const log = createLog(config.logLevel);
    await runUntilStopped(await startService(config, { log }), log);
    process.exit(0);
  } catch (error) {
    const text = error instanceof ConfigError ? error.message : `Cannot start: ${(error as Error).message}`;
    process.stderr.write(`${text}\n`);
    process.exit(1);
  }
}
