import type { DeliveryLogs } from './delivery/logs.ts';
import type { Inbox } from './inbox/notifications.ts';
import type { Intake } from './intake/intake.ts';
import type { InboxFeeds } from './live/inbox-feeds.ts';
import type { LogFeeds } from './live/log-feeds.ts';
import type { TenantSettingsSource } from './tenants/settings.ts';
import type { Templates } from './templates/templates.ts';

/** What the core offers to its doors. `main.ts` builds it. */
export interface Core {
  inbox: Inbox;
  inboxFeeds: InboxFeeds;
  intake: Intake;
  logFeeds: LogFeeds;
  logs: DeliveryLogs;
  settings: TenantSettingsSource;
  templates: Templates;
}
