import type { OutboundMessage, ProviderContext } from '../../src/channels/channel.ts';
import { createHttpClient } from '../../src/channels/http-client.ts';
import type { Channel } from '../../src/intake/channel.ts';

/** A message as the dispatcher passes it to a provider. */
export const outboundMessage = (
  channel: Channel,
  address: string,
  changes: Partial<OutboundMessage> = {},
): OutboundMessage => ({
  tenantId: 'tenant-channels',
  logId: '0198c000-0000-7000-8000-000000000001',
  eventId: '0198c000-0000-7000-8000-000000000002',
  eventCode: 'user.welcome',
  channel,
  address,
  content: { subject: 'Chào mừng', text: 'Xin chào Anna', html: null },
  idempotencyKey: `0198c000-0000-7000-8000-000000000002.${channel}.0123456789abcdef`,
  priority: 'normal',
  createdAt: new Date('2026-01-02T03:04:05Z'),
  ...changes,
});

/** Dependencies of providers. Loopback is allowed only when a test sets it. */
export function providerContext(changes: Partial<ProviderContext> = {}): ProviderContext {
  const outboundAllow = changes.outboundAllow ?? ['127.0.0.1'];
  return {
    readSecret: async (reference) => `value of ${reference}`,
    outboundAllow,
    mailThreads: 0,
    http: createHttpClient(outboundAllow),
    ...changes,
  };
}
