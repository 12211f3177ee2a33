import { Initial } from './20261123000000-initial.ts';
import { Delivery } from './20261125210000-delivery.ts';
import { People } from './20261125220000-people.ts';
import { Audit } from './20261126121000-audit.ts';
import { Privacy } from './20261126122000-privacy.ts';
import { Settings } from './20261126123000-settings.ts';
import { Templates } from './20261126124000-templates.ts';
import { Email } from './20261126125000-email.ts';
import { TemplateRevision } from './20261130010000-template-revision.ts';
import { UnknownOutcomes } from './20261130020000-unknown-outcomes.ts';
import { ErasureProgress } from './20261130030000-erasure-progress.ts';
import { DeliveryStatistics } from './20261130040000-delivery-statistics.ts';
import { SearchableLog } from './20261130050000-searchable-log.ts';
import { MonthlyPartitions } from './20261130060000-monthly-partitions.ts';
import { Live } from './20261126070000-live.ts';

/** All migrations, oldest first. The database stores their names: never rename a migration that has run. */
export const migrations = [
  { name: '20261123000000-initial', class: Initial },
  { name: '20261125210000-delivery', class: Delivery },
  { name: '20261125220000-people', class: People },
  { name: '20261126070000-live', class: Live },
  { name: '20261126121000-audit', class: Audit },
  { name: '20261126122000-privacy', class: Privacy },
  { name: '20261126123000-settings', class: Settings },
  { name: '20261126124000-templates', class: Templates },
  { name: '20261126125000-email', class: Email },
  { name: '20261130010000-template-revision', class: TemplateRevision },
  { name: '20261130020000-unknown-outcomes', class: UnknownOutcomes },
  { name: '20261130030000-erasure-progress', class: ErasureProgress },
  { name: '20261130040000-delivery-statistics', class: DeliveryStatistics },
  { name: '20261130050000-searchable-log', class: SearchableLog },
  { name: '20261130060000-monthly-partitions', class: MonthlyPartitions },
];
