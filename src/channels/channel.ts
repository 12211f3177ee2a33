import type { Channel } from '../intake/channel.ts';
import type { Priority } from '../intake/command.ts';
import type { RenderedMessage } from '../templates/template.ts';
import type { ReadSecret } from '../tenants/secrets.ts';
import type { HttpClient } from './http-client.ts';
import type { SendOptions } from './send-options.ts';
import type { SendResult } from './send-result.ts';

/** One rendered message, ready to send. */
export interface OutboundMessage {
  tenantId: string;
  logId: string;
  eventId: string;
  eventCode: string;
  channel: Channel;
  /** The only recipient. Validated for its channel when the event was accepted. */
  address: string;
  content: RenderedMessage;
  /** The same for every attempt and every provider of this channel, so that the recipient can detect duplicates. */
  idempotencyKey: string;
  priority: Priority;
  /** When the event was accepted. */
  createdAt: Date;
  /** The provider may drop the message after this time. */
  expiresAt?: Date;
  /** A push service replaces an older message with the same key on the device. */
  collapseKey?: string;
  /** One-click unsubscribe URL (RFC 8058); absent when the category is mandatory. */
  unsubscribeUrl?: string;
}

/** Sends messages of one channel. To add a provider, write one file and add it to the list in `registry.ts`. */
export interface Provider {
  readonly channel: Channel;
  /** Value of `channel_config.provider`. */
  readonly name: string;
  /** True if the provider removes repeats by `idempotencyKey`. */
  readonly deduplicates?: boolean;
  /**
   * True if `send` calls `begin` itself, when it has a connection. Otherwise `begin` was called before.
   */
  readonly beginsItself?: boolean;
  /** JSON Schema of `config`, with secrets resolved. */
  readonly configSchema: Record<string, unknown>;
  /**
   * Sends one message. Returns every failure of the provider or the network as a {@link SendResult} and does not
   * reject. It may wait for a free connection without limit; the request itself ends within `timeoutMs`.
   */
  send(message: OutboundMessage, config: Record<string, unknown>, options: SendOptions): Promise<SendResult>;
  close(): Promise<void>;
}

/** Dependencies of every provider. */
export interface ProviderContext {
  readSecret: ReadSecret;
  /** Hosts, IP addresses and CIDR ranges that tenants may use although they are not public. */
  outboundAllow: readonly string[];
  /** Number of worker threads that compose and send mail; 0 to use the main thread. */
  mailThreads: number;
  /** Shared by all HTTP providers. */
  http: HttpClient;
}

export type CreateProvider = (context: ProviderContext) => Provider;
