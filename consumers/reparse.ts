import type { RejectedEvent } from '../src/intake/rejected-event.entity.ts';
import { isBatch, isBinary, isStructured, openBinary, openStructured, parseJson } from './envelope.ts';
import type { RawEvent } from './events/event.ts';
import { type MessageInput, type Origin, toInput } from './inputs.ts';

/**
 * Parses a rejected input again in the same way as when it was received.
 *
 * @param authorize see `toInput`.
 */
export function reparse(
  { raw, headers, eventType, source, topic, partition, offset, id }: RejectedEvent,
  authorize: (tenantId: string) => void,
): MessageInput {
  const open = (): RawEvent => {
    // Only the rejected item of a batch is stored.
    if (isStructured(headers) || isBatch(headers)) return openStructured(parseJson(raw));
    if (isBinary(headers)) return openBinary({ headers, body: raw });
    // With the same position an event without id gets the same derived id.
    const position = source === 'kafka' ? [topic ?? '', partition ?? 0, offset ?? ''] : [id];
    return { type: eventType ?? '', payload: parseJson(raw), position, traceparent: headers['traceparent'] };
  };
  const origin: Origin = {
    raw: () => raw,
    headers,
    source:
      source === 'kafka'
        ? { kind: 'kafka', topic: topic ?? '', partition: partition ?? 0, offset: offset ?? '' }
        : { kind: 'http' },
    ...(eventType !== null && { eventType }),
  };
  return toInput(open, origin, authorize);
}
