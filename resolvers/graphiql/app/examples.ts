import { loadToken } from './token.ts';

type Variables = Record<string, unknown>;

const DAY_MS = 86_400_000;
/** Maximum wait for the newest id, in milliseconds. Afterwards the operation opens without it. */
const NEWEST_LIMIT_MS = 2_000;

const welcomeParams = { full_name: 'Nguyễn Văn A', first_login_at: '07:32 14/06/2025' };

/** Values of required variables, by operation. The event and the recipient belong to the demo tenant. */
const VALUES: Record<string, () => Variables> = {
  ExplainDelivery: () => ({
    input: {
      eventCode: 'user.welcome',
      channels: ['EMAIL'],
      recipient: { email: 'nguyen.van.a@example.edu.vn', locale: 'vi' },
      params: welcomeParams,
    },
  }),
  InboxBackwards: () => ({ last: 20 }),
  PreviewTemplate: () => ({
    input: {
      channel: 'EMAIL',
      subject: 'Chào mừng {{full_name}}',
      body: '<p>Lần đăng nhập đầu tiên: {{first_login_at}}</p>',
      params: welcomeParams,
      locale: 'vi',
    },
  }),
  SendTestNotification: () => ({
    input: {
      eventCode: 'user.welcome',
      channel: 'EMAIL',
      recipient: 'nguyen.van.a@example.edu.vn',
      params: welcomeParams,
      locale: 'vi',
    },
  }),
  Statistics: () => {
    const now = Date.now();
    return { from: new Date(now - 7 * DAY_MS).toISOString(), to: new Date(now).toISOString() };
  },
};

/** Variables that take the id of the newest item of a list, by operation. */
const NEWEST: Record<string, { variable: string; list: string }> = {
  DeliveryLog: { variable: 'id', list: 'notificationLogs' },
  MarkNotificationRead: { variable: 'id', list: 'notifications' },
  MarkNotificationUnread: { variable: 'id', list: 'notifications' },
  Notification: { variable: 'id', list: 'notifications' },
  Template: { variable: 'id', list: 'notificationTemplates' },
  TemplateHistory: { variable: 'id', list: 'notificationTemplates' },
};

/** Returns example values of the operation's required variables; empty for an operation without examples. */
export async function exampleVariables(operation: string): Promise<Variables> {
  const newest = NEWEST[operation];
  if (!newest) return VALUES[operation]?.() ?? {};
  const id = await newestId(newest.list);
  return id === undefined ? {} : { [newest.variable]: id };
}

/** Returns undefined when the list is empty, or when the user may not read it. */
async function newestId(list: string): Promise<string | undefined> {
  const token = loadToken();
  if (!token) return undefined;
  try {
    const response = await fetch(new URL('../graphql', location.href), {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify({ query: `query Newest { list: ${list}(first: 1) { edges { node { id } } } }` }),
      signal: AbortSignal.timeout(NEWEST_LIMIT_MS),
    });
    const { data } = (await response.json()) as { data?: { list: { edges: { node: { id: string } }[] } } | null };
    return data?.list.edges[0]?.node.id;
  } catch {
    return undefined;
  }
}
