import type { Transaction } from '../database/database.ts';
import { newId } from '../ids.ts';
import type { RejectionReason } from './rejected-event.entity.ts';

/** An input that cannot become a notification. */
export interface Rejection {
  reason: RejectionReason;
  /** Describes the problem and names the field. Contains no value of the event. */
  message: string;
  raw: Buffer;
  headers: Record<string, string>;
  tenantId?: string | undefined;
  eventType?: string | undefined;
  source: { kind: 'kafka'; topic: string; partition: number; offset: string } | { kind: 'http' };
}

/** One statement for a whole batch of intake: the raw bytes travel as `bytea[]`, which JSON cannot hold. */
const INSERT_REJECTED = `insert into rejected_event
   (id, tenant_id, event_type, reason, message, raw, headers, source, topic, partition, "offset")
 select id, tenant_id, event_type, reason, message, raws.raw, headers, source, topic, partition, "offset"
 from rows from (
   jsonb_to_recordset($1::jsonb) as (id uuid, tenant_id text, event_type text, reason text, message text,
     headers jsonb, source text, topic text, partition int, "offset" bigint),
   unnest($2::bytea[])
 ) as raws (id, tenant_id, event_type, reason, message, headers, source, topic, partition, "offset", raw)
 on conflict (topic, partition, "offset") do nothing`;

/** Stores rejected inputs with their original bytes. A Kafka position is stored once, even if its batch is delivered again. */
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
  await tx.query(INSERT_REJECTED, [JSON.stringify(rows), rejections.map((rejection) => rejection.raw)]);
  return rows.map((row) => row.id);
}

/** Returns the part of a text that the database can store. The raw bytes are stored beside it. */
function printable(text: string): string;
function printable(text: string | undefined): string | null;
function printable(text: string | undefined): string | null {
  return text?.slice(0, 2_000).toWellFormed().replaceAll('\u0000', '\ufffd') ?? null;
}
