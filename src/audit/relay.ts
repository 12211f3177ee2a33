import { setTimeout as delay } from 'node:timers/promises';

import { type HttpClient, isFailure, isSuccess } from '../channels/http-client.ts';
import type { Database, Transaction } from '../database/database.ts';
import type { Log } from '../log.ts';

export interface AuditRelayOptions {
  database: Database;
  http: HttpClient;
  /** URL that receives a JSON array of events by POST. */
  endpoint: string;
  log: Log;
  /** Interval of reading new events, in milliseconds. */
  pollMs?: number;
}

/** An event in the format of the audit service. */
interface RelayedEvent {
  id: string;
  tenant_id: string;
  actor_id: string | null;
  trace_id: string;
  action: string;
  timestamp: Date;
  details: Record<string, unknown>;
}

/** Maximum number of events per request. */
const BATCH = 100;
const POLL_MS = 1_000;
/** Shorter than the database's limit for idle transactions, because the position is locked during the request. */
const TIMEOUT_MS = 10_000;
const MAX_PAUSE_MS = 60_000;
const NAME = 'audit_service';

/** Runs once for each relayed batch. */
const SAVE_POSITION = 'update audit_relay set xid = $2::xid8, event_id = $3, passed_on_at = now() where name = $1';

/**
 * Sends audit events to the audit service in the order of their commits. The position is stored in the database and
 * advances after a batch has been accepted, so that an outage or a crash loses no event. A crash between the two sends
 * the same batch again, with the same ids. Only one instance sends at a time.
 *
 * The position contains a transaction id, because a transaction that started earlier may commit later and would be
 * skipped if only row ids were compared. Events are read only from transactions older than every running one.
 *
 * @returns a function that stops the relay.
 */
export function startAuditRelay({ database, http, endpoint, log, pollMs = POLL_MS }: AuditRelayOptions): {
  close(): Promise<void>;
} {
  const stop = new AbortController();
  const { signal } = stop;

  /** Sends one batch. @returns the number of events; undefined when another instance is sending. */
  const sendBatch = (): Promise<number | undefined> =>
    database.asWorker(async (tx) => {
      const position = await lockPosition(tx);
      if (!position) return undefined;
      const events = await nextEvents(tx, position);
      const last = events.at(-1);
      if (!last) return 0;
      const body = JSON.stringify(events.map(({ xid: _xid, ...event }) => event));
      const headers = { 'content-type': 'application/json', 'idempotency-key': last.id };
      const reply = await http.send(endpoint, { headers, body }, { timeoutMs: TIMEOUT_MS, isTrusted: true });
      if (isFailure(reply)) throw new Error(`the audit service cannot be reached: ${reply.errorCode}`);
      if (!isSuccess(reply)) throw new Error(`the audit service answered ${reply.status}`);
      await tx.query(SAVE_POSITION, [NAME, last.xid, last.id]);
      return events.length;
    });

  const run = async (): Promise<void> => {
    let failures = 0;
    while (!signal.aborted) {
      let pause = pollMs;
      try {
        const count = await sendBatch();
        failures = 0;
        if (count === BATCH) pause = 0;
      } catch (error) {
        failures += 1;
        pause = Math.min(MAX_PAUSE_MS, pollMs * 2 ** failures) * (0.5 + Math.random() / 2);
        log.warn({ error, failures }, 'sending audit events failed, trying again');
      }
      await delay(pause, undefined, { signal, ref: false }).catch(() => {});
    }
  };
  const running = run();
  return {
    close: async () => {
      stop.abort();
      await running;
    },
  };
}

interface Position {
  xid: string;
  eventId: string;
}

/** Runs before each batch, and does nothing after the first. */
const CREATE_POSITION = `insert into audit_relay (name, xid, event_id) values ($1, '0', '00000000-0000-0000-0000-000000000000')
  on conflict do nothing`;

/** Only one instance relays at a time: the others skip the locked row. */
const LOCK_POSITION =
  'select xid::text as xid, event_id as "eventId" from audit_relay where name = $1 for update skip locked';

async function lockPosition(tx: Transaction): Promise<Position | undefined> {
  await tx.query(CREATE_POSITION, [NAME]);
  const [position] = await tx.query<Position>(LOCK_POSITION, [NAME]);
  return position;
}

/** Reads a batch in commit order. Only transactions that have ended before every running one are complete. */
const SELECT_BATCH = `select id, tenant_id, actor_id, trace_id, action, timestamp, details, xid::text as xid from audit_event
  where (xid, id) > ($1::xid8, $2::uuid) and xid < pg_snapshot_xmin(pg_current_snapshot())
  order by xid, id limit ${BATCH}`;

const nextEvents = (tx: Transaction, { xid, eventId }: Position): Promise<(RelayedEvent & { xid: string })[]> =>
  tx.query(SELECT_BATCH, [xid, eventId]);
