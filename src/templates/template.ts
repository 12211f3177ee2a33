import type { Channel } from '../intake/channel.ts';

/** A published version of a template, with everything that rendering needs. */
export interface PublishedTemplate {
  templateId: string;
  version: number;
  tenantId: string;
  eventCode: string;
  channel: Channel;
  locale: string;
  subject: string | null;
  body: string;
  /** Plain-text alternative of an HTML body; null when it is generated from the HTML. */
  text: string | null;
  defaultParams: Record<string, unknown>;
}

/** A rendered template. `html` is null unless the message is an HTML email. */
export interface RenderedMessage {
  subject: string | null;
  text: string;
  html: string | null;
}
