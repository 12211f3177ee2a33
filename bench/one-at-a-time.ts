import { createHmac, randomUUID } from 'node:crypto';

import Handlebars from 'handlebars';
import { createTransport } from 'nodemailer';
import pg from 'pg';
import { Agent, request } from 'undici';

// A straightforward implementation of the same work: one event at a time, each step in its own transaction. Templates
// are compiled once and connections stay open, so that only the batching differs.

const databaseUrl = process.env['DATABASE_URL'] ?? '';
const smtpPort = Number(process.env['SMTP_PORT']);
const key = Buffer.from(process.env['WEBHOOK_KEY'] ?? '', 'base64');
const client = new pg.Client({ connectionString: databaseUrl });
await client.connect();
const mailer = createTransport({ pool: true, host: '127.0.0.1', port: smtpPort });
const agent = new Agent();
const compiled = new Map<
  string,
  { id: string; subject: HandlebarsTemplateDelegate; body: HandlebarsTemplateDelegate }
>();

interface Row {
  id: string;
  tenant_id: string;
  event_code: string;
  channel: 'email' | 'in_app' | 'webhook';
  recipient: { email?: string; user_id?: string; webhook_url?: string };
  params: Record<string, unknown>;
}

async function inTransaction<T>(work: () => Promise<T>): Promise<T> {
  await client.query('begin');
  const result = await work();
  await client.query('commit');
  return result;
}

async function templateFor({ tenant_id, event_code, channel }: Row) {
  const known = compiled.get(channel);
  if (known) return known;
  const { rows } = await client.query<{ id: string; subject: string; body: string }>(
    `select t.id, v.subject, v.body from notification_template t
     join notification_template_version v on v.template_id = t.id and v.version = t.published_version
     where t.tenant_id = $1 and t.event_code = $2 and t.channel = $3`,
    [tenant_id, event_code, channel],
  );
  const [found] = rows;
  if (!found) throw new Error('the template of the benchmark does not exist');
  const fresh = { id: found.id, subject: Handlebars.compile(found.subject), body: Handlebars.compile(found.body) };
  compiled.set(channel, fresh);
  return fresh;
}

async function send(row: Row, subject: string, body: string): Promise<void> {
  if (row.channel === 'email') {
    await mailer.sendMail({
      from: 'load@vas.example',
      to: row.recipient.email,
      subject,
      html: body,
      text: body.replaceAll(/<[^>]+>/g, ''),
      messageId: `<${row.id}@vas.example>`,
    });
  } else if (row.channel === 'webhook') {
    const text = JSON.stringify({ type: row.event_code, data: { text: body } });
    const signature = createHmac('sha256', key).update(`${row.id}.${text}`).digest('base64');
    const reply = await request(row.recipient.webhook_url ?? '', {
      dispatcher: agent,
      method: 'POST',
      headers: { 'content-type': 'application/json', 'webhook-id': row.id, 'webhook-signature': `v1,${signature}` },
      body: text,
    });
    await reply.body.dump();
  } else {
    await inTransaction(async () => {
      const { rows } = await client.query<{ last_seq: string }>(
        `insert into inbox (tenant_id, user_id, last_seq, unread_count) values ($1, $2, 1, 1)
         on conflict (tenant_id, user_id) do update
           set last_seq = inbox.last_seq + 1, unread_count = inbox.unread_count + 1
         returning last_seq`,
        [row.tenant_id, row.recipient.user_id],
      );
      await client.query(
        `insert into notification (id, tenant_id, user_id, created_seq, seq, log_id, type, title, body, recipient_scope)
         values ($1, $2, $3, $4, $4, $5, $6, $7, $8, 'users')`,
        [randomUUID(), row.tenant_id, row.recipient.user_id, rows[0]?.last_seq, row.id, row.event_code, subject, body],
      );
    });
  }
}

for (;;) {
  const { rows } = await inTransaction(() =>
    client.query<Row>(
      `update notification_log set status = 'sending', channel = channels[1], attempts = attempts + 1
       where id = (select id from notification_log where status = 'queued' and due_at <= now()
                   order by due_at limit 1 for update skip locked)
       returning id, tenant_id, event_code, channel, recipient, params`,
    ),
  );
  const [row] = rows;
  if (!row) break;
  await inTransaction(() =>
    client.query(
      `insert into delivery_attempt (log_id, number, tenant_id, channel, provider) values ($1, 1, $2, $3, 'bench')`,
      [row.id, row.tenant_id, row.channel],
    ),
  );
  const template = await templateFor(row);
  await send(row, template.subject(row.params), template.body(row.params));
  await inTransaction(async () => {
    await client.query(
      `update notification_log set status = 'sent', template_id = $2, sent_at = now(), updated_at = now() where id = $1`,
      [row.id, template.id],
    );
    await client.query(`update delivery_attempt set outcome = 'ok', duration_ms = 1 where log_id = $1`, [row.id]);
    await client.query(
      `insert into audit_event (id, tenant_id, action, trace_id, details)
       values ($1, $2, 'notification.sent', 'bench', jsonb_build_object('log_id', $3::text))`,
      [randomUUID(), row.tenant_id, row.id],
    );
  });
}
// The benchmark reads the CPU time of this process and then ends it.
setInterval(() => {}, 60_000);
