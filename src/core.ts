import type { AuditEvents } from './audit/events.ts';
import type { DeliveryControl } from './delivery/control.ts';
import type { DeliveryLogs } from './delivery/logs.ts';
import type { Access } from './identity/access.ts';
import type { Inbox } from './inbox/notifications.ts';
import type { PolicyDefinitions } from './inbox/policies.ts';
import type { Intake } from './intake/intake.ts';
import type { RejectedEvents } from './intake/rejected-events.ts';
import type { SendTest } from './intake/send-test.ts';
import type { Clients } from './live/clients.ts';
import type { InboxFeeds } from './live/inbox-feeds.ts';
import type { LogFeeds } from './live/log-feeds.ts';
import type { TopicFeeds } from './live/topic-feeds.ts';
import type { Log } from './log.ts';
import type { Preferences } from './preferences/preferences.ts';
import type { Erasures } from './privacy/erase.ts';
import type { Suppressions } from './preferences/suppressions.ts';
import type { ChannelConfigs } from './tenants/channel-configs.ts';
import type { TenantSettingsSource } from './tenants/settings.ts';
import type { TemplateEditing } from './templates/editing.ts';
import type { Templates } from './templates/templates.ts';

/** Interface of the core for the entry points in `consumers/` and `resolvers/`. `create-core.ts` builds it. */
export interface Core {
  access: Access;
  audit: AuditEvents;
  channelConfigs: ChannelConfigs;
  clients: Clients;
  delivery: DeliveryControl;
  erasures: Erasures;
  inbox: Inbox;
  inboxFeeds: InboxFeeds;
  intake: Intake;
  log: Log;
  logFeeds: LogFeeds;
  logs: DeliveryLogs;
  policies: PolicyDefinitions;
  preferences: Preferences;
  rejectedEvents: RejectedEvents;
  sendTest: SendTest;
  settings: TenantSettingsSource;
  suppressions: Suppressions;
  templateEditing: TemplateEditing;
  templates: Templates;
  topicFeeds: TopicFeeds;
}
