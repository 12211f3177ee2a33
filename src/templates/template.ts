import type { Channel } from '../intake/channel.ts';

/** A published version of a template: all that rendering needs. */
export interface PublishedTemplate {
  templateId: string;
  version: number;
  tenantId: string;
  eventCode: string;
  channel: Channel;
  locale: string;
  subject: string | null;
  body: string;
  /** The plain text beside HTML; null: worked out from it. */
  text: string | null;
  defaultParams: Record<string, unknown>;
}

/** What a template became. `html` only where the channel shows HTML. */
export interface RenderedMessage {
  subject: string | null;
  text: string;
  html: string | null;
}
