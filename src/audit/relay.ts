import { setTimeout as delay } from 'node:timers/promises';

import { type HttpClient, isFailure, isSuccess } from '../channels/http-client.ts';
import type { Database, Transaction } from '../database/database.ts';
import type { Log } from '../log.ts';

export interface AuditRelayOptions {
  database: Database;
  http: HttpClient;
  /** Takes a JSON array of events by POST. */
  endpoint: string;
  log: Log;
  /** How often to look for something new. Milliseconds. */
  pollMs?: number;
}

/** An event as it is passed on, in the words of the contract. */
interface RelayedEvent {
  id: string;
  tenant_id: string;
  actor_id: string | null;
  trace_id: string;
  action: string;
  timestamp: Date;
  details: Record<string, unknown>;
}

/** Events of one call. */
const BATCH = 100;
const POLL_MS = 1_000;
/** Less than the database lets a transaction wait, since the place is locked meanwhile. */
const TIMEOUT_MS = 10_000;
const LONGEST_PAUSE_MS = 60_000;
const NAME = 'audit_service';

/**
 * Passes audit events on to the audit service, in the order in which they were committed. The place is kept in the
 * database and moves on once a batch was taken: an outage of the service, or our own, loses nothing. Should we die
 * between the two the same batch comes once more, whose ids tell. Of all instances one passes on at a time.
 *
 * Ids alone would not do for a place: a transaction that began earlier may commit later, behind it. Hence transaction
 * ids, and only of transactions that no running one can precede.
 *
 * @returns ends it.
 */
export function startAuditRelay({ database, http, endpoint, log, pollMs = POLL_MS }: AuditRelayOptions): {
  close(): Promise<void>;
} {
  const stop = new AbortController();
  const { signal } = stop;

  /** @returns how many were passed on; undefined where somebody else is at it. */
  const passOn = (): Promise<number | undefined> =>
    database.asWorker(async (tx) => {
      const place = await lockPlace(tx);
      if (!place) return undefined;
      const events = await nextEvents(tx, place);
      const last = events.at(-1);
      if (!last) return 0;
      const body = JSON.stringify(events.map(({ xid: _xid, ...event }) => event));
      const headers = { 'content-type': 'application/json', 'idempotency-key': last.id };
      const reply = await http.send(endpoint, { headers, body }, { timeoutMs: TIMEOUT_MS, isTrusted: true });
      if (isFailure(reply)) throw new Error(`the audit service cannot be reached: ${reply.errorCode}`);
      if (!isSuccess(reply)) throw new Error(`the audit service answered ${reply.status}`);
      await tx.query(`update audit_relay set xid = $2::xid8, event_id = $3, passed_on_at = now() where name = $1`, [
        NAME,
        last.xid,
        last.id,
      ]);
      return events.length;
    });

  const run = async (): Promise<void> => {
    let failures = 0;
    while (!signal.aborted) {
      let pause = pollMs;
      try {
        const count = await passOn();
        failures = 0;
        if (count === BATCH) pause = 0;
      } catch (error) {
        failures += 1;
        pause = Math.min(LONGEST_PAUSE_MS, pollMs * 2 ** failures) * (0.5 + Math.random() / 2);
        log.warn({ error, failures }, 'audit events not passed on, trying again');
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

interface Place {
  xid: string;
  eventId: string;
}

async function lockPlace(tx: Transaction): Promise<Place | undefined> {
  await tx.query(
    `insert into audit_relay (name, xid, event_id) values ($1, '0', '00000000-0000-0000-0000-000000000000')
     on conflict do nothing`,
    [NAME],
  );
  const [place] = await tx.query<Place>(
    `select xid::text as xid, event_id as "eventId" from audit_relay where name = $1 for update skip locked`,
    [NAME],
  );
  return place;
}

const nextEvents = (tx: Transaction, { xid, eventId }: Place): Promise<(RelayedEvent & { xid: string })[]> =>
  tx.query(
    `select id, tenant_id, actor_id, trace_id, action, timestamp, details, xid::text as xid from audit_event
     where (xid, id) > ($1::xid8, $2::uuid) and xid < pg_snapshot_xmin(pg_current_snapshot())
     order by xid, id limit ${BATCH}`,
    [xid, eventId],
  );
