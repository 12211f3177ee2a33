import pg from 'pg';

/** Owner of the inbox that is read. */
export const TENANT = 'tenant-load';
export const USER = 'reader';

export const PAGE = 20;

/** The measured query: a page of the inbox and the unread count. */
export const INBOX_PAGE = `query Inbox($first: Int!) {
  unreadNotificationCount
  notifications(first: $first) {
    edges {
      cursor
      node {
        id cursor type category title body data actionUrl recipientScope createdAt readAt archivedAt
      }
    }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}`;

/** Fills the inbox and a few others. Every third notification is read. */
export async function fillInbox(databaseUrl: string, rows: number): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query(
    `insert into notification (id, tenant_id, user_id, created_seq, seq, log_id, type, category, title, body, data,
       action_url, recipient_scope, read_at)
     select gen_random_uuid(), $1, $2, n, n, gen_random_uuid(), 'payment.succeeded', 'payments',
       'Payment ' || n || ' received', 'Order ' || n || ' was paid in full. Thank you; the receipt is on its way.',
       jsonb_build_object('orderId', n, 'amount', 1250000), '/orders/' || n, 'users',
       case when n % 3 = 0 then now() end
     from generate_series(1, $3::int) as n`,
    [TENANT, USER, rows],
  );
  await client.query(
    `insert into inbox (tenant_id, user_id, last_seq, unread_count) values ($1, $2, $3::int, $3::int - $3::int / 3)`,
    [TENANT, USER, rows],
  );
  await client.query('vacuum analyze notification');
  await client.query('analyze inbox');
  await client.end();
}

export interface LoadOrder {
  url: string;
  token: string;
  connections: number;
  seconds: number;
}

export interface LoadResult {
  answered: number;
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
}
