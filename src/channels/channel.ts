import type { Channel } from '../intake/channel.ts';
import type { Priority } from '../intake/command.ts';
import type { RenderedMessage } from '../templates/template.ts';
import type { ReadSecret } from '../tenants/secrets.ts';
import type { HttpClient } from './http-client.ts';
import type { SendResult } from './send-result.ts';

/** One message, ready to be handed to a provider. */
export interface OutboundMessage {
  tenantId: string;
  logId: string;
  eventId: string;
  eventCode: string;
  channel: Channel;
  /** Checked when the event came in; the provider gets it and nothing else as the recipient. */
  address: string;
  content: RenderedMessage;
  /** The same at every try through every provider of this channel, so that a repeat can be told. */
  idempotencyKey: string;
  priority: Priority;
  /** When the event was accepted. */
  createdAt: Date;
  /** After this the provider need not deliver it any more. */
  expiresAt?: Date;
  /** Of several messages with one key only the newest matters: push services can replace the older on the device. */
  collapseKey?: string;
  /** Where one POST takes the recipient off the list (RFC 8058); absent where a category cannot be opted out of. */
  unsubscribeUrl?: string;
}

export interface SendOptions {
  /** From handing over on it ends within this time. Milliseconds. */
  timeoutMs: number;
  /** The operator and not the tenant named the host, so that it may be in a private network. */
  isTrusted: boolean;
}

/** A way to send through one channel. One file implements it, one line in `registry.ts` makes it known. */
export interface Provider {
  readonly channel: Channel;
  /** As in `channel_config.provider`. */
  readonly name: string;
  /** JSON Schema of `config`, after secrets are put in. */
  readonly configSchema: Record<string, unknown>;
  /**
   * Never rejects for what a provider can do to us: that is a {@link SendResult}. It may wait for its turn as long as
   * it takes; from handing over on it ends within `timeoutMs`.
   */
  send(message: OutboundMessage, config: Record<string, unknown>, options: SendOptions): Promise<SendResult>;
  close(): Promise<void>;
}

/** What every provider is built from. */
export interface ProviderContext {
  readSecret: ReadSecret;
  /** Hosts, addresses and CIDR ranges that any tenant may name although they are not public. */
  outboundAllow: readonly string[];
  /** Threads that compose and send mail; 0: it is done in this one. */
  mailThreads: number;
  /** Shared by all providers that speak HTTP. */
  http: HttpClient;
}

export type CreateProvider = (context: ProviderContext) => Provider;
