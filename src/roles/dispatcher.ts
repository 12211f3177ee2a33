import { startAuditRelay } from '../audit/relay.ts';
import type { HttpClient } from '../channels/http-client.ts';
import { createProviders } from '../channels/registry.ts';
import { sandboxProvider } from '../channels/sandbox.ts';
import type { CleanupStack } from '../cleanup.ts';
import type { Config } from '../config.ts';
import type { CoreParts } from '../create-core.ts';
import type { Database } from '../database/database.ts';
import { startDispatcher } from '../delivery/dispatcher.ts';
import { startStatisticsFold } from '../delivery/statistics-fold.ts';
import type { Bus } from '../live/bus.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../observability/metrics.ts';
import { startPrivacyJobs } from '../privacy/jobs.ts';
import { allSecretsReader } from '../tenants/secrets.ts';

export interface DispatcherRoleOptions extends CoreParts {
  config: Config;
  database: Database;
  bus: Bus;
  http: HttpClient;
  metrics: Metrics;
  log: Log;
}

/** Starts the role `dispatcher`: delivery, statistics, retention and erasure jobs, and the audit relay. */
export function startDispatcherRole(options: DispatcherRoleOptions, parts: CleanupStack): void {
  const { config, database, bus, http, metrics, log, bulkheads, keyring, planning, processMode } = options;
  const { outboundAllow, mailThreads, deliveryLeaseMs, auditServiceEndpoint } = config;
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
  const statistics = startStatisticsFold({ database, log });
  parts.defer(() => statistics.close());
  const jobs = startPrivacyJobs({ database, settings: options.core.settings, log });
  options.erasureRequested.notify = () => jobs.wake();
  parts.defer(() => jobs.close());
  if (auditServiceEndpoint !== undefined) {
    const relay = startAuditRelay({ database, http, endpoint: auditServiceEndpoint, log });
    parts.defer(() => relay.close());
  }
}
