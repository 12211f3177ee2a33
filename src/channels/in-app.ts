import type { Content } from '../intake/command.ts';
import type { RenderedMessage } from '../templates/template.ts';

/**
 * The service's own inbox. It has no provider: a notification is written in the transaction that settles its delivery,
 * so it is there exactly once, and no attempt can be in doubt.
 */
export const IN_APP = { channel: 'in_app', name: 'inbox' } as const;

/** What an inbox shows of a rendered template. */
export function inboxContent(message: RenderedMessage, eventCode: string, actorId: string | null): Content {
  return {
    type: eventCode,
    title: message.subject ?? '',
    body: message.text,
    ...(actorId !== null && { actorId }),
  };
}
