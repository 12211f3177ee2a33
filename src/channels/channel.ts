import type { Channel } from '../intake/channel.ts';
import type { Priority } from '../intake/command.ts';
import type { RenderedMessage } from '../templates/template.ts';
import type { ReadSecret } from '../tenants/secrets.ts';
import type { HttpClient } from './http-client.ts';

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

/**
 * What the provider said.
 *
 * - `transient`: it may work later.
 * - `permanent`: it never will.
 * - `unknown`: it was handed over and no answer came, so it may have been delivered.
 */
export type SendResult = { outcome: 'ok'; providerMessageId?: string } | SendFailure;

/** Messages are shown to admins: they say what went wrong, without the recipient and without secrets. */
export interface SendFailure {
  outcome: 'transient' | 'permanent' | 'unknown';
  /**
   * What has to change for it to work: another provider may take what this one's account or outage stopped, none will
   * take a recipient that does not exist or a message that is malformed.
   */
  blames: 'recipient' | 'message' | 'provider';
  errorCode: string;
  errorMessage: string;
  /** The provider asked not to be called again for so long. Milliseconds. */
  retryAfterMs?: number;
  /** The address itself is no good, or its owner wants no more: it is not used again. */
  suppress?: 'hard_bounce' | 'complaint';
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
