import { randomUUID } from 'node:crypto';

import type { Service } from '../../src/service.ts';
import { eventually } from './eventually.ts';
import { activityEvent, type EventAnswer, welcomeEvent } from './service.ts';
import { sql } from './sql.ts';

type Target = Pick<Service, 'url'>;

/** Posts events of one type in one request and returns the ids of their delivery records, in order. */
export async function postBatch(service: Target, token: string, type: string, events: unknown[]): Promise<string[]> {
  const response = await fetch(`${service.url}/events`, {
    method: 'POST',
    headers: { 'content-type': 'application/cloudevents-batch+json', authorization: `Bearer ${token}` },
    body: JSON.stringify(events.map((data) => ({ specversion: '1.0', id: randomUUID(), source: '/test', type, data }))),
  });
  const { results } = (await response.json()) as EventAnswer;
  const ids = results.map((result) => result.log_id);
  if (response.status !== 202 || ids.includes(undefined)) throw new Error(JSON.stringify(results));
  return ids as string[];
}

/** Posts one activity notification per title to `userIds`. */
export const postActivities = (
  service: Target,
  token: string,
  tenantId: string,
  userIds: string[],
  titles: string[],
  changes: (index: number) => Record<string, unknown> = () => ({}),
): Promise<string[]> =>
  postBatch(
    service,
    token,
    'signal.activity-notification',
    titles.map((title, index) => activityEvent(tenantId, userIds, { title, ...changes(index) })),
  );

export const postWelcomes = (
  service: Target,
  token: string,
  tenantId: string,
  changes: Record<string, unknown>[],
): Promise<string[]> =>
  postBatch(
    service,
    token,
    'notification.triggered.v1',
    changes.map((change) => welcomeEvent(tenantId, change)),
  );

/** Waits until all deliveries of `logIds` are in a terminal state. */
export const settled = (databaseUrl: string, logIds: string[]): Promise<unknown> =>
  eventually(async () => {
    const open = await sql(
      databaseUrl,
      `select 1 from notification_log where id = any($1) and status in ('queued', 'sending', 'retrying')`,
      [logIds],
    );
    return open.length === 0;
  }, 'the end of all deliveries');
