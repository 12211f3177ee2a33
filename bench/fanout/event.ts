import { randomUUID } from 'node:crypto';

/** Selected fields of a notification. */
export const NOTIFICATION_FIELDS =
  'id cursor type category title body data actionUrl recipientScope createdAt readAt archivedAt';

export const NOTIFICATION_CREATED = `subscription { notificationCreated { ${NOTIFICATION_FIELDS} } }`;

/** Creates a notification. */
export function notification(number: number): Record<string, unknown> {
  return {
    id: randomUUID(),
    cursor: Buffer.from(String(number).padStart(18, '0')).toString('base64url'),
    type: 'payment.succeeded',
    category: 'payments',
    title: `Payment ${number} received`,
    body: `Order ${number} was paid in full. Thank you; the receipt is on its way to you.`,
    data: { orderId: `order-${number}`, amount: 1_250_000, currency: 'VND' },
    actionUrl: `https://pos.example/orders/${number}`,
    recipientScope: 'users',
    createdAt: new Date().toISOString(),
    readAt: null,
    archivedAt: null,
  };
}
