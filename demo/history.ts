import { isControl, toInput } from '../consumers/inputs.ts';
import type { Actor } from '../src/identity/actor.ts';
import { PERMISSIONS } from '../src/identity/permissions.ts';
import { newId } from '../src/ids.ts';
import type { Outcome } from '../src/intake/intake.ts';
import type { Service } from '../src/service.ts';
import { DEMO_ADMIN, DEMO_USER } from './seed.ts';

// A history of the demo tenant, so that every list shows something: notifications that were sent, sent through another
// channel, suppressed, expired and failed, one that waits, and events that were rejected. All of it goes through the same
// functions as real events and requests.

const PARENT = 'user-002';
const PARENT_EMAIL = 'tran.thi.b@example.edu.vn';
const GONE_EMAIL = 'old.address@example.edu.vn';
const SCHOOL = 'campus-d7';
const HOUR_MS = 3_600_000;
/** Maximum wait for the deliveries, in milliseconds. A process without a dispatcher delivers nothing. */
const DELIVERY_LIMIT_MS = 10_000;

interface DemoEvent {
  type: string;
  data: Record<string, unknown>;
}

/** Writes the history once. Later calls find its first event and do nothing. */
export async function seedDemoHistory({ core }: Service, tenantId: string): Promise<void> {
  const [first, ...others] = historyOf(tenantId);
  const [known] = await take(core, [first]);
  if (known?.kind === 'accepted' && known.isDuplicate) return;

  const admin: Actor = {
    tenantId,
    homeTenantId: tenantId,
    userId: DEMO_ADMIN,
    permissions: new Set(PERMISSIONS),
    isSuperadmin: false,
    issuedAt: undefined,
    expiresAt: new Date(Date.now() + HOUR_MS),
    tokenId: undefined,
  };
  const traceId = newId();
  await core.channelConfigs.save(
    admin,
    {
      channel: 'email',
      provider: 'smtp',
      name: '',
      position: 0,
      isEnabled: true,
      limits: null,
      config: { host: 'smtp.example.edu.vn', port: 587, from: 'VAS <no-reply@example.edu.vn>' },
    },
    { traceId },
  );
  await core.policies.import(
    admin,
    [DEMO_USER, DEMO_ADMIN].map((userId) => ({ userId, role: 'manager', scope: 'merchant', scopeId: SCHOOL })),
    { isWhole: true, traceId },
  );
  await core.preferences.update(
    { tenantId, userId: PARENT },
    { category: 'marketing', channel: 'email', isEnabled: false },
  );
  await core.suppressions.add(admin, { channel: 'email', address: GONE_EMAIL }, traceId);
  await take(core, others);
  await readOldest(core, { tenantId, userId: DEMO_USER });
}

const take = (core: Service['core'], events: DemoEvent[]): Promise<Outcome[]> =>
  core.intake.take(
    events
      .map(({ type, data }) =>
        toInput(() => ({ type, payload: data, position: [] }), {
          raw: () => Buffer.from(JSON.stringify(data)),
          headers: {},
          source: { kind: 'http' },
          eventType: type,
        }),
      )
      .filter((input) => !isControl(input)),
  );

/** Reads one notification, so that the inbox has both kinds. */
async function readOldest(core: Service['core'], owner: { tenantId: string; userId: string }): Promise<void> {
  const deadline = performance.now() + DELIVERY_LIMIT_MS;
  while (performance.now() < deadline) {
    const { rows } = await core.inbox.list(owner, {});
    const oldest = rows.at(-1);
    if (oldest && rows.length >= INBOX_EVENTS.length) {
      await core.inbox.change(owner, oldest.id, 'read');
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const INBOX_EVENTS = [
  {
    id: '01',
    type: 'homework.assigned',
    title: 'Bài tập Toán mới',
    body: 'Hạn nộp: thứ Sáu.',
    action_url: '/homework/31',
  },
  { id: '02', type: 'payment.succeeded', title: 'Đã nhận học phí', body: 'Hóa đơn HD-1024 đã được thanh toán.' },
  { id: '03', type: 'campus.notice', title: 'Thư viện đóng cửa sớm', body: 'Hôm nay thư viện đóng cửa lúc 16 giờ.' },
];

/** Ids are fixed, so that the service finds the events again after a restart. */
const idOf = (number: string): string => `01900000-0000-7000-8000-0000000000${number}`;

function historyOf(tenantId: string): [DemoEvent, ...DemoEvent[]] {
  const now = Date.now();
  const at = (hours: number): string => new Date(now + hours * HOUR_MS).toISOString();
  const event = (number: string, eventCode: string, data: Record<string, unknown>): DemoEvent => ({
    type: 'notification.triggered.v2',
    data: {
      event_id: idOf(number),
      tenant_id: tenantId,
      event_code: eventCode,
      trace_id: `demo-${number}`,
      trigger_by: 'sale',
      created_at: at(-2),
      ...data,
    },
  });
  const parent = { user_id: PARENT, email: PARENT_EMAIL };
  const invoice = { full_name: 'Trần Thị B', amount: '4.250.000 ₫', invoice_no: 'HD-1024' };
  const openDay = { full_name: 'Trần Thị B', day: '2026-12-19' };
  return [
    event('10', 'user.welcome', {
      recipient: { email: 'nguyen.van.a@example.edu.vn' },
      params: { full_name: 'Nguyễn Văn A', first_login_at: '07:32 14/06/2025' },
    }),
    event('11', 'invoice.paid', { recipient: parent, params: invoice }),
    // The parent has opted out of marketing by email: the inbox is used instead.
    event('12', 'open_day.invitation', { recipient: parent, params: openDay }),
    // Suppressed: the address is in the suppression list, and there is no other.
    event('13', 'open_day.invitation', { recipient: { email: GONE_EMAIL }, params: openDay }),
    // Failed: the template needs `invoice_no`, and this one has no template.
    event('14', 'invoice.paid', { recipient: parent, params: { full_name: 'Trần Thị B', amount: '1.000.000 ₫' } }),
    event('15', 'grade.published', { recipient: parent, channels: ['email'], params: { subject: 'Toán' } }),
    event('16', 'invoice.paid', { recipient: parent, params: invoice, expires_at: at(-1) }),
    event('17', 'invoice.paid', { recipient: parent, params: invoice, send_at: at(24) }),
    ...INBOX_EVENTS.map(({ id, ...content }) => ({
      type: 'signal.activity-notification',
      data: {
        ...content,
        id: idOf(id),
        tenant_id: tenantId,
        actor_id: 'user-042',
        recipient_scope: 'merchant',
        merchant_id: SCHOOL,
        created_at: at(-1),
      },
    })),
    // Rejected: the address is invalid, and the type belongs to another service.
    event('18', 'user.welcome', { recipient: { email: 'không phải địa chỉ' }, params: {} }),
    { type: 'notification.bulk.v1', data: { tenant_id: tenantId, count: 5_000 } },
  ];
}
