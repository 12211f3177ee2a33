import type { Transaction } from '../database/database.ts';
import { newId } from '../ids.ts';

export type RejectionReason =
  | 'malformed_event'
  | 'validation_failed'
  | 'unsupported_type'
  | 'unsupported_version'
  | 'tenant_mismatch';

/** An input that is kept because nothing else can be done with it. */
export interface Rejection {
  reason: RejectionReason;
  /** What was wrong and where; shows no value of the event. */
  message: string;
  raw: Buffer;
  headers: Record<string, string>;
  tenantId?: string | undefined;
  eventType?: string | undefined;
  source: { kind: 'kafka'; topic: string; partition: number; offset: string } | { kind: 'http' };
}

/** Keeps rejected inputs as they came. A Kafka position is kept once, however often its batch is handed out. */
export async function recordRejections(tx: Transaction, rejections: Rejection[]): Promise<string[]> {
  if (rejections.length === 0) return [];
  const rows = rejections.map((rejection) => ({
    id: newId(),
    tenant_id: printable(rejection.tenantId),
    event_type: printable(rejection.eventType),
    reason: rejection.reason,
    message: printable(rejection.message),
    headers: Object.fromEntries(
      Object.entries(rejection.headers).map(([name, value]) => [printable(name), printable(value)]),
    ),
    source: rejection.source.kind,
    ...(rejection.source.kind === 'kafka'
      ? { topic: rejection.source.topic, partition: rejection.source.partition, offset: rejection.source.offset }
      : {}),
  }));
  await tx.query(
    `insert into rejected_event
       (id, tenant_id, event_type, reason, message, raw, headers, source, topic, partition, "offset")
     select id, tenant_id, event_type, reason, message, raws.raw, headers, source, topic, partition, "offset"
     from rows from (
       jsonb_to_recordset($1::jsonb) as (id uuid, tenant_id text, event_type text, reason text, message text,
         headers jsonb, source text, topic text, partition int, "offset" bigint),
       unnest($2::bytea[])
     ) as raws (id, tenant_id, event_type, reason, message, headers, source, topic, partition, "offset", raw)
     on conflict (topic, partition, "offset") do nothing`,
    [JSON.stringify(rows), rejections.map((rejection) => rejection.raw)],
  );
  return rows.map((row) => row.id);
}

/** What the database can hold of a text that comes from a broken input; the raw bytes are kept beside it anyway. */
function printable(text: string): string;
function printable(text: string | undefined): string | null;
function printable(text: string | undefined): string | null {
  return text?.slice(0, 2_000).toWellFormed().replaceAll('\u0000', '\ufffd') ?? null;
}
