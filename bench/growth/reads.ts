import type { Database } from '../../src/database/database.ts';
import type { LogFilter } from '../../src/delivery/log-filter.ts';
import { createDeliveryLogs } from '../../src/delivery/logs.ts';
import { deliveryStatistics, type Dimension } from '../../src/delivery/statistics.ts';
import { firstIdOf } from '../../src/ids.ts';
import { createInbox } from '../../src/inbox/notifications.ts';
import { createKeyring } from '../../src/keyring.ts';
import { memoryBus } from '../../src/live/bus-memory.ts';
import { sql } from '../../test/support/sql.ts';
import { type Step, timed } from './measure.ts';
import { BIG_TENANT } from './rows.ts';
import { READER, type SeededDatabase } from './seed.ts';

const DAY_MS = 86_400_000;

interface Sample {
  eventId: string;
  traceId: string;
  userId: string;
  email: string;
  messageId: string;
}

/** Returns the values of one sent record in the middle of the year. */
async function sampleOf({ url, months }: SeededDatabase): Promise<Sample> {
  const [sample] = await sql<Sample>(
    url,
    `select log.event_id as "eventId", log.trace_id as "traceId", log.recipient->>'user_id' as "userId",
       log.recipient->>'email' as email, attempt.provider_message_id as "messageId"
     from notification_log log join delivery_attempt attempt on attempt.log_id = log.id
     where log.tenant_id = $1 and log.id > $2 and log.status = 'sent' order by log.id limit 1`,
    [BIG_TENANT, firstIdOf(months[6] as number)],
  );
  if (!sample) throw new Error('no record in the middle of the year');
  return sample;
}

/** Returns the steps that read: the log with each filter, the statistics and the inbox. */
export async function readSteps(seeded: SeededDatabase, database: Database): Promise<Step[]> {
  const { eventId, traceId, userId, email, messageId } = await sampleOf(seeded);
  const weeksAgo = new Date(Date.now() - 40 * DAY_MS);
  const filters: Record<string, LogFilter> = {
    'log list': {},
    'statuses: sent': { statuses: ['sent'] },
    'statuses: expired (rare)': { statuses: ['expired'] },
    'statuses: retrying (none)': { statuses: ['retrying'] },
    'channels: webhook': { channels: ['webhook'] },
    'channels: zalo (none)': { channels: ['zalo'] },
    eventCode: { eventCode: 'user.reset' },
    'eventCode (none)': { eventCode: 'unknown.code' },
    eventCodePrefix: { eventCodePrefix: 'order.' },
    'eventCodePrefix (none)': { eventCodePrefix: 'unknown.' },
    eventId: { eventId },
    traceId: { traceId },
    recipient: { recipient: email },
    userId: { userId },
    providerMessageId: { providerMessageId: messageId },
    'isTest: true': { isTest: true },
    'isTest: false': { isTest: false },
    createdAfter: { createdAfter: weeksAgo },
    createdBefore: { createdBefore: weeksAgo },
    'statuses, createdBefore': { statuses: ['failed'], createdBefore: weeksAgo },
  };
  const logs = createDeliveryLogs(database, createKeyring([]));
  const inbox = createInbox({ database, bus: memoryBus() });
  const owner = { tenantId: BIG_TENANT, userId: READER };
  const [newest] = (await inbox.list(owner, { first: 1 })).rows;
  if (!newest) throw new Error('the inbox of the reader is empty');
  const statistics = (name: string, groupBy: Dimension[]): Step =>
    timed(`statistics by ${name}, 90 days`, () => {
      const to = new Date();
      return deliveryStatistics(database, BIG_TENANT, { from: new Date(to.getTime() - 90 * DAY_MS), to }, groupBy);
    });
  return [
    ...Object.entries(filters).map(([name, filter]) => timed(name, () => logs.list(BIG_TENANT, { first: 20 }, filter))),
    statistics('day and status', ['day', 'status']),
    statistics('channel and status', ['channel', 'status']),
    statistics('event code', ['event_code']),
    timed('inbox page', () => inbox.list(owner, { first: 20 })),
    timed('inbox: mark as read and unread', async () => {
      await inbox.change(owner, newest.id, 'read');
      await inbox.change(owner, newest.id, 'unread');
    }),
  ];
}
