import type { Channel } from '../intake/channel.ts';
import type { RenderedMessage } from '../templates/template.ts';
import type { ReadSecret } from '../tenants/secrets.ts';

/** One message, ready to be handed to a provider. */
export interface OutboundMessage {
  tenantId: string;
  logId: string;
  eventId: string;
  channel: Channel;
  /** Checked when the event came in; the provider gets it and nothing else as the recipient. */
  address: string;
  content: RenderedMessage;
  /** The same at every try, so that a repeat can be told. */
  idempotencyKey: string;
}

/**
 * What the provider said. `transient` may work later, `permanent` never will. Messages are shown to admins: they say
 * what went wrong, without the recipient and without secrets.
 */
export type SendResult =
  | { outcome: 'ok'; providerMessageId?: string }
  | { outcome: 'transient' | 'permanent'; errorCode: string; errorMessage: string; retryAfterMs?: number };

/** A way to send through one channel. One file implements it, one line in `registry.ts` makes it known. */
export interface Provider {
  readonly channel: Channel;
  /** As in `channel_config.provider`. */
  readonly name: string;
  /**
   * Never rejects for what a provider can do to us: that is a {@link SendResult}. It may wait for its turn as long as
   * it takes; from handing over on it ends within `timeoutMs`.
   */
  send(message: OutboundMessage, config: Record<string, unknown>, timeoutMs: number): Promise<SendResult>;
  close(): Promise<void>;
}

/** What every provider is built from. */
export interface ProviderContext {
  readSecret: ReadSecret;
}

export type CreateProvider = (context: ProviderContext) => Provider;
