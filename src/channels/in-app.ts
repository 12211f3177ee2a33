import type { Content } from '../intake/command.ts';
import type { RenderedMessage } from '../templates/template.ts';

/**
 * The service's own inbox. It has no provider: the transaction that settles the delivery also writes the notification,
 * so the notification exists exactly once and the outcome is always known.
 */
export const IN_APP = { channel: 'in_app', name: 'inbox' } as const;

/** Converts a rendered template to the content of an inbox notification. */
export function inboxContent(message: RenderedMessage, eventCode: string, actorId: string | null): Content {
  return {
    type: eventCode,
    title: message.subject ?? '',
    body: message.text,
    ...(actorId !== null && { actorId }),
  };
}
