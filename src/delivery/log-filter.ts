import type { Transaction } from '../database/database.ts';
import { type FieldProblem, validationFailed } from '../errors.ts';
import { isUuid } from '../ids.ts';
import type { Channel } from '../intake/channel.ts';
import type { Recipient } from '../intake/command.ts';
import { checkRecipient } from '../intake/recipient.ts';
import { addressKeys, searchKey } from '../intake/search-key.ts';
import { checkFilter, type KeysetQuery } from '../paging/page.ts';
import type { LogStatus } from './status.ts';

/** Conditions for delivery records. A record must match all that are given. */
export interface LogFilter {
  statuses?: LogStatus[] | null | undefined;
  channels?: Channel[] | null | undefined;
  eventCode?: string | null | undefined;
  eventCodePrefix?: string | null | undefined;
  eventId?: string | null | undefined;
  traceId?: string | null | undefined;
  /** An address in full, also where records store it in another form. */
  recipient?: string | null | undefined;
  userId?: string | null | undefined;
  providerMessageId?: string | null | undefined;
  isTest?: boolean | null | undefined;
  createdAfter?: Date | null | undefined;
  createdBefore?: Date | null | undefined;
}

/** The parameters of one statement. */
export interface Parameters {
  values: unknown[];
  /** Adds a value. @returns its placeholder. */
  add(value: unknown): string;
}

export function createParameters(...values: unknown[]): Parameters {
  return { values, add: (value) => `$${values.push(value)}` };
}

/** @throws `validation_failed` naming the field. */
export function checkLogFilter(filter: LogFilter | null | undefined): void {
  checkFilter(filter);
  const problems: FieldProblem[] = [];
  if (filter?.eventId && !isUuid(filter.eventId)) problems.push({ path: 'filter.eventId', message: 'must be a UUID' });
  if (given(filter?.recipient) && recipientsOf(filter.recipient).length === 0) {
    problems.push({
      path: 'filter.recipient',
      message: 'must be an email address, a phone number such as +84912345678, a device token or an https URL',
    });
  }
  if (filter?.eventCodePrefix === '') problems.push({ path: 'filter.eventCodePrefix', message: 'must not be empty' });
  if (problems.length > 0) throw validationFailed(problems);
}

export const given = <T>(value: T | null | undefined): value is T => value !== null && value !== undefined;

/** Keys of the filter's trace, recipient and user, see `search-key.ts`. Each list has the alternatives of one condition. */
export function keysOf(tenantId: string, { traceId, recipient, userId }: LogFilter): string[][] {
  return [
    ...(given(traceId) ? [[searchKey('trace', tenantId, traceId)]] : []),
    ...(given(recipient) ? [recipientsOf(recipient).flatMap((person) => addressKeys(tenantId, person))] : []),
    ...(given(userId) ? [[searchKey('user', tenantId, userId)]] : []),
  ];
}

/** Returns each way to read an address: a device token can look like any other address. */
const recipientsOf = (address: string): Recipient[] =>
  (['email', 'phone', 'webhook_url', 'device_token'] as const)
    .map((field): Recipient => ({ [field]: address }))
    .filter((recipient) => checkRecipient(recipient, (field) => field).length === 0);

/**
 * Returns the SQL conditions of a filter for a record `log`. They are complete: a search through an index applies them to
 * what it finds. `offset 0` makes a subquery run once for each record, instead of reading everything that it matches.
 */
export function conditionsOf(tenantId: string, filter: LogFilter, { add }: Parameters): string[] {
  const { statuses, channels, eventCode, eventCodePrefix, eventId, traceId, isTest, createdAfter, createdBefore } =
    filter;
  const { providerMessageId, recipient, userId } = filter;
  return [
    ...(given(statuses) ? [`log.status = any(${add(statuses)}::text[])`] : []),
    ...(given(channels) ? [`log.channel = any(${add(channels)}::text[])`] : []),
    ...(given(eventCode) ? [`log.event_code = ${add(eventCode)}`] : []),
    ...(given(eventCodePrefix) ? [`starts_with(log.event_code, ${add(eventCodePrefix)})`] : []),
    ...(given(eventId) ? [`log.event_id = ${add(eventId)}::uuid`] : []),
    ...(given(traceId) ? [`log.trace_id = ${add(traceId)}`] : []),
    ...(given(isTest) ? [`log.is_test = ${add(isTest)}`] : []),
    ...(given(createdAfter) ? [`log.created_at >= ${add(createdAfter)}`] : []),
    ...(given(createdBefore) ? [`log.created_at < ${add(createdBefore)}`] : []),
    ...keysOf(tenantId, { recipient, userId }).map(
      (keys) => `exists (select from notification_log_key key where key.tenant_id = log.tenant_id
        and key.key = any(${add(keys)}::uuid[]) and key.log_id = log.id offset 0)`,
    ),
    ...(given(providerMessageId)
      ? [
          `exists (select from delivery_attempt attempt where attempt.log_id = log.id
        and attempt.provider_message_id = ${add(providerMessageId)} offset 0)`,
        ]
      : []),
  ];
}

/** A search for one page of records. */
export interface LogSearch {
  tx: Transaction;
  tenantId: string;
  filter: LogFilter;
  query: KeysetQuery;
  /** Ids between which the page lies; both exclusive. */
  range: { above: string | undefined; below: string | undefined };
}

/** Returns the condition of the range for a column with the id of a record. */
export function inRange(column: string, { range: { above, below } }: LogSearch, { add }: Parameters): string {
  return [
    above === undefined ? '' : ` and ${column} > ${add(above)}::uuid`,
    below === undefined ? '' : ` and ${column} < ${add(below)}::uuid`,
  ].join('');
}

/** Returns the order in which the records of the page are read. */
export const direction = ({ query }: LogSearch): 'asc' | 'desc' => (query.isBackward ? 'asc' : 'desc');
