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

export function createMailbox(database: Database): Mailbox {
  return {
    list: ({ limit, before }) =>
      database.asWorker((tx) =>
        tx.query<CapturedMessage>(
          `select ${COLUMNS} from sandbox_message where ($2::uuid is null or id < $2) order by id desc limit $1`,
          [limit, before ?? null],
        ),
      ),
    get: async (id) => {
      const rows = await database.asWorker((tx) =>
        tx.query<CapturedMessage>(`select ${COLUMNS} from sandbox_message where id = $1`, [id]),
      );
      return rows[0];
    },
  };
}

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
        tx.query(
          `insert into sandbox_message (id, tenant_id, log_id, channel, recipient, subject, text, html, headers)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (log_id, channel) do nothing`,
          [
            id,
            message.tenantId,
            message.logId,
            message.channel,
            message.address,
            message.content.subject,
            message.content.text,
            message.content.html,
            { 'Message-ID': `<${message.idempotencyKey}@sandbox>` },
          ],
        ),
      );
      return { outcome: 'ok', providerMessageId: id };
    },
  };
}
