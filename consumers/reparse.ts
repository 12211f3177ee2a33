import type { RejectedEvent } from '../src/intake/rejected-events.ts';
import { isBatch, isBinary, isStructured, openBinary, openStructured, parseJson } from './envelope.ts';
import type { RawEvent } from './events/event.ts';
import { type DoorInput, toInput } from './inputs.ts';

/** Parses a rejected input again, by the parser of the transport that it came over. */
export function reparse({ raw, headers, eventType, source, topic, partition, offset, id }: RejectedEvent): DoorInput {
  const open = (): RawEvent => {
    // Of a batch only the item that was refused was kept.
    if (isStructured(headers) || isBatch(headers)) return openStructured(parseJson(raw));
    if (isBinary(headers)) return openBinary({ headers, body: raw });
    // The same position gives an event that brings no id the same id as the first time.
    const position = source === 'kafka' ? [topic ?? '', partition ?? 0, offset ?? ''] : [id];
    return { type: eventType ?? '', payload: parseJson(raw), position, traceparent: headers['traceparent'] };
  };
  return toInput(open, {
    raw: () => raw,
    headers,
    source:
      source === 'kafka'
        ? { kind: 'kafka', topic: topic ?? '', partition: partition ?? 0, offset: offset ?? '' }
        : { kind: 'http' },
    ...(eventType !== null && { eventType }),
  });
}
