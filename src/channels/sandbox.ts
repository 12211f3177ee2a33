import type { Database } from '../database/database.ts';
import { newId } from '../ids.ts';
import type { Provider } from './channel.ts';

/** A message that sandbox mode captured instead of sending. */
export interface CapturedMessage {
  id: string;
  tenantId: string;
  logId: string;
  channel: string;
  recipient: string;
  sender: string | null;
  subject: string | null;
  text: string | null;
  html: string | null;
  headers: Record<string, string>;
  capturedAt: Date;
}

/** Captured messages of all tenants, newest first. For development only. */
export interface Mailbox {
  list(options: { limit: number; before?: string | undefined }): Promise<CapturedMessage[]>;
  get(id: string): Promise<CapturedMessage | undefined>;
}

const COLUMNS = `id, tenant_id as "tenantId", log_id as "logId", channel, recipient, sender, subject, text, html,
  headers, captured_at as "capturedAt"`;

/** The worker reads over all tenants; the mailbox page shows them in one list. */
const SELECT_NEWEST = `select ${COLUMNS} from sandbox_message where ($2::uuid is null or id < $2) order by id desc limit $1`;

/** The same columns for one message. */
const SELECT_MESSAGE = `select ${COLUMNS} from sandbox_message where id = $1`;

export function createMailbox(database: Database): Mailbox {
  return {
    list: ({ limit, before }) =>
      database.asWorker((tx) => tx.query<CapturedMessage>(SELECT_NEWEST, [limit, before ?? null])),
    get: async (id) => {
      const rows = await database.asWorker((tx) => tx.query<CapturedMessage>(SELECT_MESSAGE, [id]));
      return rows[0];
    },
  };
}

/** Runs for each captured message. A repeated delivery does not store it again. */
const INSERT_MESSAGE = `insert into sandbox_message (id, tenant_id, log_id, channel, recipient, subject, text, html, headers)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (log_id, channel) do nothing`;

/**
 * Replaces every provider in sandbox mode: stores the message in the mailbox and sends nothing. A message that is
 * captured again after a crash is stored once.
 */
export function sandboxProvider(database: Database): Pick<Provider, 'name' | 'send'> {
  return {
    name: 'sandbox',
    send: async (message) => {
      const id = newId();
      await database.asWorker((tx) =>
        tx.query(INSERT_MESSAGE, [
          id,
          message.tenantId,
          message.logId,
          message.channel,
          message.address,
          message.content.subject,
          message.content.text,
          message.content.html,
          { 'Message-ID': `<${message.idempotencyKey}@sandbox>` },
        ]),
      );
      return { outcome: 'ok', providerMessageId: id };
    },
  };
}
