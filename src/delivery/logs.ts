import type { Database, Transaction } from '../database/database.ts';
import { isUuid } from '../ids.ts';
import type { Channel } from '../intake/channel.ts';
import { addressFor } from '../intake/recipient.ts';
import { idCursor, keysetQuery, pageOf, type Page, type PageArgs, toPage } from '../paging/page.ts';
import type { Keyring } from '../keyring.ts';
import { openRecipient, type StoredRecipient } from '../privacy/at-rest.ts';
import { checkLogFilter, conditionsOf, createParameters, given, type LogFilter } from './log-filter.ts';
import { searchLogs } from './log-search.ts';
import type { LogStatus } from './status.ts';

/** One attempt to send a notification through a provider. */
export interface DeliveryAttempt {
  number: number;
  channel: Channel;
  provider: string;
  startedAt: Date;
  durationMs: number | null;
  outcome: 'ok' | 'transient' | 'permanent' | 'unknown' | null;
  providerMessageId: string | null;
  errorCode: string | null;
  errorMessage: string | null;
}

/** One accepted event and its delivery status, as admins see it. */
export interface NotificationLog {
  id: string;
  tenantId: string;
  eventId: string;
  eventType: string;
  eventCode: string;
  channel: Channel | null;
  status: LogStatus;
  isTest: boolean;
  /**
   * Address of the recipient; null if it is not stored or the notification is for an audience. Personal data: see
   * `maskAddress`.
   */
  address: string | null;
  templateId: string | null;
  templateVersion: number | null;
  locale: string | null;
  errorCode: string | null;
  errorMessage: string | null;
  attemptCount: number;
  attempts: DeliveryAttempt[];
  traceId: string;
  params: Record<string, unknown>;
  createdAt: Date;
  updatedAt: Date;
  sentAt: Date | null;
}

export interface DeliveryLogs {
  list(tenantId: string, args: PageArgs, filter?: LogFilter | null): Promise<Page<NotificationLog>>;
  /** Returns the records in the order of `ids`, with null for each id that does not exist in this tenant. */
  findMany(tenantId: string, ids: readonly string[], filter?: LogFilter | null): Promise<(NotificationLog | null)[]>;
}

type LogRow = Omit<NotificationLog, 'address' | 'attempts'> & {
  recipient: StoredRecipient;
  channels: Channel[];
  attempts: DeliveryAttempt[] | null;
};

const COLUMNS = `log.id, log.tenant_id as "tenantId", log.event_id as "eventId", log.event_type as "eventType",
  log.event_code as "eventCode", log.channel, log.channels, log.status, log.is_test as "isTest", log.recipient,
  log.template_id as "templateId", log.template_version as "templateVersion", log.locale,
  log.error_code as "errorCode", log.error_message as "errorMessage", log.attempts as "attemptCount",
  log.trace_id as "traceId", log.params::json as params, log.created_at as "createdAt", log.updated_at as "updatedAt",
  log.sent_at as "sentAt",
  (select jsonb_agg(jsonb_build_object('number', a.number, 'channel', a.channel, 'provider', a.provider,
     'startedAt', a.started_at, 'durationMs', a.duration_ms, 'outcome', a.outcome,
     'providerMessageId', a.provider_message_id, 'errorCode', a.error_code, 'errorMessage', a.error_message)
     order by a.number)
   from delivery_attempt a where a.log_id = log.id) as attempts`;

/** Maximum queue size that is reported. Bounds the cost of counting. */
const MAX_COUNTED = 100_000;

/** Counts open rows by status for the metrics. Its cost does not grow with the table. */
const COUNT_OPEN = `select status, count(*)::int as size
  from (select status from notification_log where status in ('queued', 'sending', 'retrying') limit ${MAX_COUNTED}) open
  group by status`;

/** Returns the number of unfinished deliveries by status, over all tenants. */
export function queueSizes(database: Database): Promise<{ status: LogStatus; size: number }[]> {
  return database.asWorker((tx) => tx.query(COUNT_OPEN));
}

/** The page without a filter: one index range, without entities. */
const SELECT_PAGE = `select ${COLUMNS} from notification_log log where log.tenant_id = $1`;

/** Used by each page after its ids are known, and by subscriptions, which reload many records after one wake-up. */
const SELECT_MANY = `select ${COLUMNS} from notification_log log where log.tenant_id = $1 and log.id = any($2::uuid[])`;

export function createDeliveryLogs(database: Database, keyring: Keyring): DeliveryLogs {
  const find = async (
    tx: Transaction,
    tenantId: string,
    ids: readonly string[],
    filter: LogFilter = {},
  ): Promise<(NotificationLog | null)[]> => {
    if (ids.length === 0) return [];
    const parameters = createParameters(tenantId, ids);
    const conditions = conditionsOf(tenantId, filter, parameters).map((condition) => ` and ${condition}`);
    const rows = await tx.query<LogRow>(`${SELECT_MANY}${conditions.join('')}`, parameters.values);
    const byId = new Map(rows.map((row) => [row.id, readLog(row, keyring)]));
    return ids.map((id) => byId.get(id.toLowerCase()) ?? null);
  };
  return {
    list: (tenantId, args, filter) => {
      const query = keysetQuery(args, idCursor);
      checkLogFilter(filter);
      return database.asTenant(tenantId, async (tx) => {
        if (!Object.values(filter ?? {}).some(given)) {
          const values: unknown[] = [tenantId];
          const rows = await tx.query<LogRow>(`${SELECT_PAGE} ${pageOf('log.id', query, values)}`, values);
          return toPage(
            rows.map((row) => readLog(row, keyring)),
            query,
          );
        }
        const ids = await searchLogs(tx, tenantId, filter ?? {}, query);
        const records = await find(tx, tenantId, ids);
        return toPage(
          records.filter((record) => record !== null),
          query,
        );
      });
    },
    findMany: async (tenantId, ids, filter) => {
      checkLogFilter(filter);
      const valid = ids.filter((id) => isUuid(id));
      if (valid.length === 0) return ids.map(() => null);
      const found = await database.asTenant(tenantId, (tx) => find(tx, tenantId, valid, filter ?? {}));
      const byId = new Map(valid.map((id, index) => [id, found[index]]));
      return ids.map((id) => byId.get(id) ?? null);
    },
  };
}

function readLog({ recipient, channels, attempts, ...row }: LogRow, keyring: Keyring): NotificationLog {
  const channel = row.channel ?? channels[0];
  const address = channel && addressFor(channel, openRecipient(row.tenantId, recipient, keyring));
  return {
    ...row,
    address: address ?? null,
    attempts: (attempts ?? []).map((attempt) => ({ ...attempt, startedAt: new Date(attempt.startedAt) })),
  };
}
