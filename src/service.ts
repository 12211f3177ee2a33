import type { AddressInfo } from 'node:net';

import type { Control } from '../consumers/inputs.ts';
import { isControl, onlyTenant } from '../consumers/inputs.ts';
import { reparse } from '../consumers/reparse.ts';
import { createHttpClient } from './channels/http-client.ts';
import { CleanupStack } from './cleanup.ts';
import type { Config } from './config.ts';
import type { Core } from './core.ts';
import { type CoreParts, createCore } from './create-core.ts';
import { openDatabase } from './database/database.ts';
import { findDatabase } from './database/find-database.ts';
import { migrate } from './database/migrate.ts';
import { queueSizes } from './delivery/logs.ts';
import { createHttpServer } from './http-server.ts';
import type { DevIdentity } from './identity/dev-keys.ts';
import { verificationKeys } from './identity/keys.ts';
import { createAuthenticator } from './identity/verify.ts';
import { memoryBus } from './live/bus-memory.ts';
import { redisBus } from './live/bus-redis.ts';
import { createLog, type Log } from './log.ts';
import { type Checks, healthRoutes } from './observability/health.ts';
import { createMetrics, metricsRoutes } from './observability/metrics.ts';
import { loadUnsubscribeLinks } from './preferences/unsubscribe.ts';
import { startApiRole } from './roles/api.ts';
import { startConsumerRole } from './roles/consumer.ts';
import { startDispatcherRole } from './roles/dispatcher.ts';
import { explainDatabaseError, explainListenError } from './start-error.ts';

export interface Service {
  /** Base URL, e.g. `http://127.0.0.1:8080`. */
  url: string;
  core: Core;
  /** Issues tokens for this service. Set only in dev when no keys are configured. */
  devIdentity: DevIdentity | undefined;
  /** Stops accepting work, finishes and records deliveries in flight, and closes all parts in reverse order. */
  close(): Promise<void>;
}

export interface ServiceOptions {
  log?: Log;
  /** Deletes the embedded database on close. */
  ephemeral?: boolean;
  /** Returns a token for the link to GraphiQL on the page at `/`. Used only in dev on a loopback address. */
  graphiqlToken?: () => string | undefined;
}

/** Builds the core and starts the configured roles. */
export async function startService(config: Config, options: ServiceOptions = {}): Promise<Service> {
  const log = options.log ?? createLog(config.logLevel);
  await using parts = new CleanupStack();

  const { databaseUrl, databaseOwnerUrl } = await findDatabase(
    config,
    { log, ephemeral: options.ephemeral ?? false },
    parts,
  );
  const ran = await migrate(databaseOwnerUrl).catch((error: unknown) => {
    const variable = config.databaseOwnerUrl === undefined ? 'DATABASE_URL' : 'DATABASE_OWNER_URL';
    throw explainDatabaseError(error, { url: databaseOwnerUrl, variable });
  });
  if (ran.length > 0) log.info({ migrations: ran }, 'database migrated');
  const metrics = createMetrics({ queueSize: () => queueSizes(database) });
  const database = openDatabase({
    url: databaseUrl,
    log,
    keepsPlans: config.databaseKeepsPlans,
    onTransaction: metrics.databaseLatency,
  });
  parts.defer(() => database.close());
  // The migrations may have used another login.
  await database.ping().catch((error: unknown) => {
    throw explainDatabaseError(error, { url: databaseUrl, variable: 'DATABASE_URL' });
  });

  const bus = config.redisUrls.length > 0 ? redisBus({ urls: config.redisUrls, log }) : memoryBus();
  parts.defer(() => bus.close());

  const links = await loadUnsubscribeLinks(config);
  const coreParts: CoreParts = await createCore(
    {
      config,
      database,
      bus,
      metrics,
      links,
      log,
      reparse: async (event, allowedTenant) => {
        const input = reparse(event, allowedTenant === undefined ? () => {} : onlyTenant(allowedTenant));
        if (!isControl(input)) return input;
        await control(input);
        return 'applied';
      },
    },
    parts,
  );
  const { core, revocations } = coreParts;
  const control: Control = async (event) => {
    if (event.kind === 'config-updated') coreParts.configChanged(event.tenantId);
    else await revocations.revoke(event.revocation);
  };
  const http = createHttpClient([]);
  parts.defer(() => http.close());
  if (config.roles.has('dispatcher'))
    startDispatcherRole({ ...coreParts, config, database, bus, http, metrics, log }, parts);

  const { keys, check, dev } = await verificationKeys({ ...config.identity, dataPath: config.dataPath });
  const { issuer, audience } = config.identity;
  const authenticate = createAuthenticator({
    keys,
    isRevoked: (actor) => revocations.isRevoked(actor),
    ...(issuer === undefined ? {} : { issuer }),
    ...(audience === undefined ? {} : { audience }),
  });
  const checks: Checks = {
    database: () => database.ping(),
    bus: () => bus.ping(),
    ...(check === undefined ? {} : { keys: check }),
  };

  const app = createHttpServer(log);
  parts.defer(() => app.close());
  await app.register(healthRoutes, { checks });
  await app.register(metricsRoutes, { metrics });
  if (config.roles.has('consumer')) {
    await startConsumerRole(app, { config, intake: core.intake, control, authenticate, checks, log }, parts);
  }
  if (config.roles.has('api')) {
    await startApiRole(
      app,
      { config, core, database, bus, authenticate, http, links, graphiqlToken: options.graphiqlToken, log },
      parts,
    );
  }
  const address = { port: config.servicePort, host: config.serviceHost };
  await app.listen(address).catch((error: unknown) => {
    throw explainListenError(error, address);
  });

  const running = parts.move();
  const { port } = app.server.address() as AddressInfo;
  const host = config.serviceHost === '0.0.0.0' ? '127.0.0.1' : config.serviceHost;
  const url = `http://${host}:${port}`;
  log.info({ url, roles: [...config.roles], environment: config.environment }, 'service is up');
  return { url, core, devIdentity: dev, close: () => running[Symbol.asyncDispose]() };
}
