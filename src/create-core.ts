import { createAuditEvents } from './audit/events.ts';
import { providerSchemas } from './channels/registry.ts';
import type { CleanupStack } from './cleanup.ts';
import type { Config } from './config.ts';
import type { Core } from './core.ts';
import type { Database } from './database/database.ts';
import { createBulkheads } from './delivery/bulkheads.ts';
import { circuitReporter } from './delivery/circuit-breaker-report.ts';
import { createDeliveryControl } from './delivery/control.ts';
import { createDeliveryLogs } from './delivery/logs.ts';
import type { ProcessMode } from './delivery/mode.ts';
import type { PlanBatchOptions } from './delivery/plan-batch.ts';
import { createAccess } from './identity/access.ts';
import { createRevocations, type Revocations } from './identity/revocations.ts';
import { createInbox } from './inbox/notifications.ts';
import { createPolicyDefinitions } from './inbox/policies.ts';
import { createIntake } from './intake/intake.ts';
import { createRejectedEvents, type RejectedEventsOptions } from './intake/rejected-events.ts';
import { createSendTest } from './intake/send-test.ts';
import { createKeyring, type Keyring } from './keyring.ts';
import { type Bus, topics } from './live/bus.ts';
import { createClients } from './live/clients.ts';
import { createInboxFeeds } from './live/inbox-feeds.ts';
import { createLogFeeds } from './live/log-feeds.ts';
import { createTopicFeeds } from './live/topic-feeds.ts';
import type { Log } from './log.ts';
import type { Metrics } from './observability/metrics.ts';
import { createPreferences } from './preferences/preferences.ts';
import { createRecipientEligibility } from './preferences/recipient-eligibility.ts';
import { createSuppressions } from './preferences/suppressions.ts';
import type { UnsubscribeLinks } from './preferences/unsubscribe.ts';
import { createErasures } from './privacy/erase.ts';
import { createTemplateEditing } from './templates/editing.ts';
import { createTemplateLookup } from './templates/lookup.ts';
import { createTemplates } from './templates/templates.ts';
import { createChannelConfigs } from './tenants/channel-configs.ts';
import { noTenantFiles, tenantFiles } from './tenants/files.ts';
import { createTenantSettings, type TenantSettings } from './tenants/settings.ts';

export interface CoreOptions {
  config: Config;
  database: Database;
  bus: Bus;
  metrics: Metrics;
  /** Undefined when `PUBLIC_URL` is not set. */
  links: UnsubscribeLinks | undefined;
  /** Parses the stored bytes of a rejected event again. */
  reparse: RejectedEventsOptions['reparse'];
  log: Log;
}

/** The core, and the parts that the roles of a process share with it. */
export interface CoreParts {
  core: Core;
  bulkheads: ReturnType<typeof createBulkheads>;
  keyring: Keyring;
  planning: PlanBatchOptions;
  processMode: ProcessMode;
  revocations: Revocations;
  /** Drops a tenant's cached configuration in every instance. */
  configChanged(tenantId: string): void;
  /** `notify` is called when an erasure is requested; the dispatcher role sets it. */
  erasureRequested: { notify?: () => void };
}

/** Builds each part of the core once. `parts` closes them in reverse order. */
export async function createCore(
  { config, database, bus, metrics, links, reparse, log }: CoreOptions,
  parts: CleanupStack,
): Promise<CoreParts> {
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
  const processMode: ProcessMode = { current: config.deliveryMode };
  const erasureRequested: { notify?: () => void } = {};
  const report = circuitReporter(database, log);
  const bulkheads = createBulkheads({
    onChange: (key, circuit) => {
      report(key, circuit);
      metrics.circuit(key, circuit.state);
    },
  });
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
  // A client that went away no longer keeps the HTTP server open, but its event is still being stored.
  parts.defer(() => intake.drain());
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
      reparse,
    }),
    suppressions: createSuppressions(database),
    erasures: createErasures(database, () => erasureRequested.notify?.()),
    inbox: createInbox({ database, bus }),
    inboxFeeds: createInboxFeeds({ database, bus }),
    intake,
    log,
    logFeeds: createLogFeeds({ bus, logs }),
    logs,
    sendTest: createSendTest({ intake, templates: templateLookup }),
    settings,
    templateEditing: createTemplateEditing({ database, onChanged: configChanged }),
    templates: createTemplates({ database, onChanged: configChanged }),
    topicFeeds: createTopicFeeds({ database, log }),
  };
  return { core, bulkheads, keyring, planning, processMode, revocations, configChanged, erasureRequested };
}
